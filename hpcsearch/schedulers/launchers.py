"""Which launcher an ``mpiexec`` or ``mpirun`` is: programs of one name understand different options."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.command import run

#: What a launcher's ``--version`` says -> its kind.
_TOLD: Mapping[str, str] = {
    "HYDRA": "hydra",
    "Intel(R) MPI": "hydra",
    "Open MPI": "openmpi",
    "OpenRTE": "openmpi",
    "PALS": "pals",
    "pbs_version": "tm",
}

#: Kind -> the names of its program.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "pals": ("mpiexec",),
    "hydra": ("mpiexec", "mpiexec.hydra"),
    "openmpi": ("mpirun", "mpiexec"),
    "tm": ("pbs_tmrsh",),
}

_ANY = ("mpiexec", "mpiexec.hydra", "mpirun")
_ANSWER_S = 20.0

#: Makes a remote shell of PBS's ``pbs_tmrsh``, for launchers that would take ssh.
_TMRSH = Path(__file__).with_name("tmrsh.sh")


@dataclass(frozen=True)
class Found:
    """A launcher: its kind, and the path of the program."""

    kind: str
    program: str


@functools.cache
def kind_of(program: str) -> str:
    """The kind of a launcher, given by its path, by its own word; empty where it says nothing that is known."""
    try:
        said = run([program, "--version"], _ANSWER_S)
    except SchedulerError:
        return ""
    text = f"{said.stdout}\n{said.stderr}"
    return next((kind for words, kind in _TOLD.items() if words in text), "")


def find(kind: str, program: str = "") -> Found | None:
    """The launcher of that kind; None where there is none.

    ``auto`` takes what is there: PALS or Hydra, which start processes faster, rather than Open MPI, and PBS's own task
    manager where there is none of them. ``program`` is the command where it has a name of its own.
    """
    if kind != "auto":
        # One that does not tell its kind is believed to be of this one.
        fitting = (path for path in _paths((program,) if program else PROGRAMS[kind]) if kind_of(path) in (kind, ""))
        return next((Found(kind, path) for path in fitting), None)
    found: dict[str, str] = {}
    for path in _paths((program,) if program else _ANY):
        found.setdefault(kind_of(path), path)
    mpi = next((Found(known, found[known]) for known in PROGRAMS if known in found), None)
    return mpi if mpi or program else find("tm")


def _paths(names: Iterable[str]) -> Iterator[str]:
    """Where programs of these names are; those beside this Python come last."""
    for folder in (None, str(Path(sys.executable).parent)):
        for name in names:
            path = shutil.which(name, path=folder)
            if path is not None:
                yield path


def remote_shell() -> str:
    """What Hydra and Open MPI start their helpers on other nodes with; empty for their own way, which is ssh.

    Nodes of a PBS job take no ssh on many machines, but all take PBS's own pbs_tmrsh.
    """
    return str(_TMRSH) if shutil.which("pbs_tmrsh") else ""
