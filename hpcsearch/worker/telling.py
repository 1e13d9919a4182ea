"""Lines that a launched process tells among whatever a launcher passes on, marked so that no output passes for one."""

from __future__ import annotations

import json
import os
from typing import Any

#: Begins each such line; no program prints it by chance.
MARK = b"\x01hpcsearch "

PRESENT = "present"  # rank 0's process is there; MPI is not
BEGUN = "begun"  # at
ENDED = "ended"  # state, started_at, ended_at, duration_s, objective, metadata, failure
REPORT = "report"  # step, at, metrics
FAILED = "failed"  # rank, host, failure

#: What to do where a launcher and an MPI library do not know each other.
FITTING = (
    "Name the library's own launcher in the site file's [launcher], with mpi_kind or mpi_arguments (srun: --mpi=pmi2 "
    "for MPICH, --mpi=pmix for Open MPI); 'hpcsearch doctor --on-compute' tries it"
)


def _plain(value: Any) -> Any:
    """A numpy scalar as the number it is."""
    if not hasattr(value, "item"):
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be kept: JSON knows no such type")
    return value.item()


encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


def say(fd: int, message: list[Any]) -> None:
    """Writes a message to ``fd``, where a line begins."""
    data = MARK + encode(message).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def heard(line: bytes) -> list[Any] | None:
    """The message in a line; None for any other line."""
    if not line.startswith(MARK):
        return None
    try:
        message: list[Any] = json.loads(line[len(MARK) :])
    except ValueError:  # cut off, where its process was killed
        return None
    return message
