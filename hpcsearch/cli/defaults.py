"""The user's defaults as click takes them, and which values of a command came from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from hpcsearch import settings
from hpcsearch.settings import SUBMIT, ConfigFile, Setting
from hpcsearch.sites.find import LOCAL

#: Defaults that the whole program keeps to, Python too, and not this command line alone.
_EVERYWHERE = ("site", "root")


def apply(context: click.Context, submit: click.Command) -> None:
    """Lets submit find the user's defaults; they count as given where an option is required.

    No other command gets them: the others are about what exists, where what is not given stays as it was.

    Raises:
        UsageError: config.toml has an unknown key or a value that its option does not take.
    """
    keys = [key for key in settings.VARIABLES if key not in _EVERYWHERE]
    found = {key: value for key in keys if (value := settings.default(key))} | submit_defaults(context, submit)
    context.obj = found
    context.default_map = {SUBMIT: _values(submit, found)}


def submit_defaults(context: click.Context, submit: click.Command) -> dict[str, Setting]:
    """The defaults in [submit], by option, checked against the options of the command and its subcommands.

    Raises:
        UsageError: as for ``apply``.
    """
    file = settings.read_config()
    options = {key: option for key, option in _options(submit) if key not in settings.VARIABLES}
    found = {}
    for key, value in file.submit.items():
        if key in settings.VARIABLES:
            raise file.error(f"{key} stands above the table [{SUBMIT}], not in it", SUBMIT, key)
        if key not in options:
            raise file.unknown(key, options, SUBMIT)
        found[key] = Setting(_checked(context, file, options[key], key, value), settings.shown(file.path))
    return found


def notes(context: click.Context) -> Iterator[str]:
    """``account lab (from ~/.config/hpcsearch/config.toml)``: the values that nobody typed and nobody built in."""
    found: Mapping[str, Setting] = context.obj or {}
    for key, option in _own_options(context.command):
        if context.get_parameter_source(option.name or "") is click.core.ParameterSource.DEFAULT_MAP:
            yield f"{key} {shown_value(found[key])} (from {found[key].origin})"
    for key in _EVERYWHERE:
        local = key == "site" and context.params["queue"] == LOCAL  # which needs no site
        if not context.params[key] and not local and (setting := settings.default(key)):
            yield f"{key} {setting.value} (from {setting.origin})"


def shown_value(setting: Setting) -> str:
    """A default's value in one line, as config.toml has it."""
    value = setting.value
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


def _values(command: click.Command, found: Mapping[str, Setting]) -> dict[str, Any]:
    values: dict[str, Any] = {
        option.name: found[key].value for key, option in _own_options(command) if option.name and key in found
    }
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return values | {name: _values(each, found) for name, each in inner}


def _own_options(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    """A command's options by the names that they have in config.toml: the first long one, without its dashes."""
    for option in command.params:
        longs = [name for name in option.opts if name.startswith("--")]
        if isinstance(option, click.Option) and longs:
            yield longs[0].removeprefix("--"), option


def _options(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    yield from _own_options(command)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _options(inner)


def _checked(context: click.Context, file: ConfigFile, option: click.Option, key: str, value: Any) -> Any:
    """The value as if it had been typed; raises UsageError when the option does not take it."""
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        raise file.error(f"{key} must be one value, not {value!r}", SUBMIT, key)
    typed: Any = value if option.is_flag else str(value)
    if option.multiple:
        typed = [str(each) for each in (value if isinstance(value, list) else [value])]
    try:
        option.type_cast_value(context, typed)
    except click.BadParameter as error:
        raise file.error(f"{key}: {error.message}", SUBMIT, key) from None
    return typed
