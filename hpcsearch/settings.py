"""Defaults that a user sets once: in environment variables, or in ``~/.config/hpcsearch/config.toml``.

What is typed goes before all of them; then come hpcsearch's own variables, the file, and last what the scheduler's own
commands would take. Only the variables named here are read: others of the prefix ``HPCSEARCH_`` belong to allocations.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcsearch.errors import UsageError

#: What can be set -> the variable that goes before the file, and the scheduler's own one that comes after it.
VARIABLES: Mapping[str, tuple[str, str | None]] = {
    "account": ("HPCSEARCH_ACCOUNT", "SBATCH_ACCOUNT"),
    "queue": ("HPCSEARCH_QUEUE", "SBATCH_PARTITION"),
    "site": ("HPCSEARCH_SITE", None),
    "root": ("HPCSEARCH_ROOT", None),
}

#: The table of the file whose keys are the options of submit.
SUBMIT = "submit"


@dataclass(frozen=True)
class Setting:
    """A default, and where it was set: a variable's name, or the file's."""

    value: Any
    origin: str


@dataclass(frozen=True)
class ConfigFile:
    """What config.toml says, its keys checked but for those of ``submit``, which are the command line's affair."""

    path: Path
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    submit: Mapping[str, Any] = field(default_factory=dict)

    def error(self, message: str, *keys: str, hint: str = "") -> UsageError:
        """The error that says in which line of the file ``keys`` stand, from the top of the file."""
        from hpcsearch.sites.lines import line_of

        line = line_of(self.text, keys)
        return UsageError(f"{self.path}{f', line {line}' if line else ''}: {message}", hint)

    def unknown(self, key: str, known: Iterable[str], *table: str) -> UsageError:
        """The error for a key that nothing is called."""
        from hpcsearch.sites.model import did_you_mean

        known = sorted(known)
        where = f" in [{'.'.join(table)}]" if table else ""
        message = f"unknown key {key!r}{where}{did_you_mean(key, known)}"
        return self.error(message, *table, key, hint=f"Known keys: {', '.join(known)}.")


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """Where the file is, whether it is there or not."""
    variables = os.environ if environment is None else environment
    home = variables.get("XDG_CONFIG_HOME") or Path(variables.get("HOME") or Path.home(), ".config")
    return Path(home, "hpcsearch", "config.toml")


def read_config(environment: Mapping[str, str] | None = None) -> ConfigFile:
    """The file, empty when there is none.

    Raises:
        UsageError: it cannot be read, is no TOML, or has an unknown key or a value of the wrong kind.
    """
    path = config_path(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile(path)
    except (OSError, UnicodeDecodeError) as error:
        reason, hint = (
            (error.strerror, "") if isinstance(error, OSError) else ("it is no text in UTF-8", "Save it as such.")
        )
        raise UsageError(f"The file of defaults {path} cannot be read: {reason}.", hint) from None
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The file of defaults {path} is no TOML: {error}.", "Texts need quotes there.") from None
    file = ConfigFile(path, text, submit=table.pop(SUBMIT, {}))
    if not isinstance(file.submit, dict):
        raise file.error(f"{SUBMIT} must be a table [{SUBMIT}], not {file.submit!r}", SUBMIT)
    for key, value in table.items():
        if key not in VARIABLES:
            raise file.unknown(key, (*VARIABLES, f"[{SUBMIT}]"))
        if not isinstance(value, str):
            raise file.error(f"{key} must be a text in quotes, not {value!r}", key)
    if "root" in table:
        table["root"] = _folder(file, table["root"])
    return ConfigFile(path, text, table, file.submit)


def default(name: str, environment: Mapping[str, str] | None = None) -> Setting | None:
    """The default called ``name``, a key of ``VARIABLES``; None when it is set nowhere.

    Raises:
        UsageError: the file is wrong; it is looked at only when no variable goes before it.
    """
    variables = os.environ if environment is None else environment
    before, after = VARIABLES[name]
    if variables.get(before):
        return Setting(variables[before], before)
    file = read_config(variables)
    if file.values.get(name):
        return Setting(file.values[name], shown(file.path, variables))
    if after and variables.get(after):
        return Setting(variables[after], after)
    return None


def shown(path: Path, environment: Mapping[str, str] | None = None) -> str:
    """A path as people write it: ``~`` for their home."""
    home = (os.environ if environment is None else environment).get("HOME")
    return f"~/{path.relative_to(home)}" if home and path.is_relative_to(home) else str(path)


def _folder(file: ConfigFile, text: str) -> str:
    path = Path(os.path.expandvars(text)).expanduser()
    # One that depends on where a command is typed, or on a variable that is not set there, would hide workflows
    if text and not path.is_absolute():
        raise file.error(
            f"root {text!r} is no absolute path",
            "root",
            hint='Write one such as "~/workflows" or "$SCRATCH/workflows".',
        )
    return str(path) if text else ""
