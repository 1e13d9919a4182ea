"""Where site files are looked for, and which site this machine is."""

from __future__ import annotations

import fnmatch
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hpcsearch import settings
from hpcsearch.errors import SiteError
from hpcsearch.sites.load import load_site, merge, read_table
from hpcsearch.sites.model import Site, did_you_mean

#: Sites that describe a kind of machine, by the command that tells it; asked after all others, in this order.
GENERIC: Mapping[str, str] = {"slurm": "sbatch", "pbs": "qsub"}
LOCAL = "local"
_SYSTEM = Path("/etc/hpcsearch/sites")


def data_folder(kind: Literal["site_configs", "jobscripts"]) -> Path:
    """The folder of packaged files: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise SiteError(f"this installation of hpcsearch lacks its folder {kind}", "Install hpcsearch again.")


def search_path(workflow: Path | None = None, environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The folders of site files, weakest first; ``workflow`` is a workflow's directory."""
    variables = os.environ if environment is None else environment
    named = [Path(part) for part in variables.get("HPCSEARCH_SITE_PATH", "").split(os.pathsep) if part]
    home = variables.get("XDG_CONFIG_HOME") or Path(variables.get("HOME") or Path.home(), ".config")
    user = Path(home, "hpcsearch", "sites")
    # As in PATH, what stands first in the variable goes before what follows it
    folders = [data_folder("site_configs"), _SYSTEM, *reversed(named), user]
    return (*folders, workflow / "sites") if workflow else tuple(folders)


def site_files(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """File name without ``.toml`` -> the files of that name, weakest first."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem, []).append(file)
    return found


def find_site(
    name: str | None = None,
    *,
    queue: str | None = None,
    workflow: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Site:
    """The site called ``name`` (``polaris`` or ``polaris-alcf``), or the one that this machine is.

    Queue ``local`` means site ``local`` wherever no name is given.
    Raises SiteError for an unknown name or a wrong file.
    """
    variables = os.environ if environment is None else environment
    known = site_files(search_path(workflow, variables))
    if name is None:
        name = LOCAL if queue == LOCAL else detect(known, variables)
    return load_site(*files_of(name, known))


def detect(known: Mapping[str, Sequence[Path]], environment: Mapping[str, str]) -> str:
    """The name of the site that this machine is: what the user has set, else what the files' rules or commands tell."""
    return explain_detection(known, environment)[0]


def explain_detection(known: Mapping[str, Sequence[Path]], environment: Mapping[str, str]) -> tuple[str, str]:
    """The name that ``detect`` gives, and a sentence that says why."""
    if default := settings.default("site", environment):
        return default.value, f"It is set so in {default.origin}."
    hosts = sorted({socket.gethostname(), os.uname().nodename})
    for name, files in known.items():
        table: dict[str, object] = {}
        for file in files:
            table = merge(table, read_table(file))
        rules = table.get("detect")
        if isinstance(rules, dict) and (why := _match(rules, hosts, environment)):
            return name, why
    path = environment.get("PATH")
    for name, command in GENERIC.items():
        if name in known and shutil.which(command, path=path):
            return name, f"No site file describes {hosts[0]}, but the command {command} is here."
    commands = " and ".join(GENERIC.values())
    return LOCAL, f"No site file describes {hosts[0]}, and neither of the commands {commands} is here."


def _match(rules: Mapping[str, object], hosts: Sequence[str], environment: Mapping[str, str]) -> str:
    """The rule that matches, as a sentence; empty when none does."""
    patterns, variables = rules.get("hostnames"), rules.get("variables")
    for pattern in patterns if isinstance(patterns, list) else ():
        for host in hosts:
            if fnmatch.fnmatch(host, pattern):
                return f"The host name {host} is like {pattern}."
    for key, value in variables.items() if isinstance(variables, dict) else ():
        if environment.get(key) == value:
            return f"The variable {key} is {value}."
    return ""


def files_of(name: str, known: Mapping[str, Sequence[Path]]) -> Sequence[Path]:
    """The files of the site called ``name``, weakest first; raises SiteError, with the nearest name, for none."""
    if name in known:
        return known[name]
    centres = [stem for stem in known if stem.startswith(f"{name}-")]
    if len(centres) == 1:
        return known[centres[0]]
    if centres:
        raise SiteError(f"{name!r} is the name of several sites: {', '.join(centres)}", "Give the whole name.")
    raise SiteError(
        f"there is no site {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}",
        "Write a file for it in ~/.config/hpcsearch/sites/, or take --site slurm or --site pbs.",
    )
