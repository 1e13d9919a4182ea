"""Lines that a launched process tells among whatever a launcher passes on, marked so that no output passes for one."""

from __future__ import annotations

import json
import os
from typing import Any

#: Begins each such line; no program prints it by chance.
MARK = b"\x01hpcsearch "

BEGUN = "begun"  # at
ENDED = "ended"  # state, started_at, ended_at, duration_s, objective, metadata, failure
REPORT = "report"  # step, at, metrics
FAILED = "failed"  # rank, host, failure

_encode = json.JSONEncoder(separators=(",", ":")).encode


def say(fd: int, message: list[Any], encode: Any = _encode) -> None:
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
