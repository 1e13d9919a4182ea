"""Where a job's output goes: written there at once with -k d, else brought there in the end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pbs.state import Job, Server

_LETTERS = {"OU": "o", "ER": "e"}


def streams(server: Server, job: Job) -> list[int]:
    """Standard input, output and error of a job's tasks, as file descriptors."""
    return [os.open("/dev/null", os.O_RDONLY), *(_open(server, job, kind) for kind in _LETTERS)]


def bring_back(server: Server, job: Job) -> None:
    """Copies what was not written in its place."""
    for kind in _LETTERS if "d" not in job.keep else ():
        spooled = _spooled(server, job, kind)
        if spooled.exists():
            shutil.copy(spooled, _target(job, kind))


def _open(server: Server, job: Job, kind: str) -> int:
    kind = "OU" if job.join == "oe" else kind
    path = _target(job, kind) if "d" in job.keep else _spooled(server, job, kind)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _spooled(server: Server, job: Job, kind: str) -> Path:
    return server.folder / "jobs" / f"{job.id}.{kind}"


def _target(job: Job, kind: str) -> Path:
    given = job.output if kind == "OU" else job.error
    path = Path(job.cwd, given.rpartition(":")[2] or f"{job.name}.{_LETTERS[kind]}{job.number}")
    return path / f"{job.id}.{kind}" if path.is_dir() else path
