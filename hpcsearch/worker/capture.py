"""What evaluations print, kept in their directories: of each the first half of the limit, and the last half.

All that runs in a slot prints into one pipe. Before each evaluation the slot writes a marker there, so that what
follows it is known to be that evaluation's, whatever wrote it, in Python or below.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from pathlib import Path

_MARKER = re.compile(rb"\x00\x01hpcsearch evaluation (\d{1,18})\x01\x00")
_MARKER_BYTES = 48  # no marker is longer


def marker(evaluation: int) -> bytes:
    """What announces an evaluation's output."""
    return b"\x00\x01hpcsearch evaluation %d\x01\x00" % evaluation


class Capture:
    """Takes a slot's output piece by piece, and writes each evaluation's to ``<evaluations>/<id>/<name>``.

    Args:
        evaluations: the folder of the evaluations' directories; these are made when something is printed.
        limit_bytes: how much of an evaluation's output is kept.
        name: the file's.
    """

    def __init__(self, evaluations: Path, limit_bytes: int, name: str = "log") -> None:
        self._evaluations = evaluations
        self._name = name
        self._limit_bytes = limit_bytes
        self._log: Log | None = None
        self._evaluation = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Takes the next piece of output."""
        data = self._rest + data
        *parts, last = _MARKER.split(data)
        # Parts alternate: text, id, text, id, ...
        for text, identity in zip(parts[::2], parts[1::2], strict=True):
            self._keep(text)
            self._begin(int(identity))
        cut = last.rfind(b"\x00\x01", max(0, len(last) - _MARKER_BYTES))
        if cut < 0:
            cut = len(last) - last.endswith(b"\x00")
        self._keep(last[:cut])
        self._rest = last[cut:]

    def settle(self, evaluation: int) -> None:
        """An evaluation has ended: writes what is still in memory of its output."""
        if self._log is not None and self._evaluation == evaluation:
            self._log.close()

    def close(self) -> None:
        """Nothing more will come: writes all that is still in memory."""
        self._keep(self._rest)
        self._rest = b""
        if self._log is not None:
            self._log.close()

    def _begin(self, identity: int) -> None:
        if self._log is not None:
            self._log.close()
        self._evaluation = identity
        self._log = Log(self._evaluations / str(identity) / self._name, self._limit_bytes)

    def _keep(self, data: bytes) -> None:
        if data and self._log is not None:
            self._log.feed(data)


class Log:
    """One evaluation's log: the file appears with the first byte."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._half = max(1, limit_bytes // 2)
        self._fd: int | None = None
        self._head_left = self._half
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0
        self._unwritable = False

    def feed(self, data: bytes) -> None:
        if self._head_left:
            head, data = data[: self._head_left], data[self._head_left :]
            self._write(head)
            self._head_left -= len(head)
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._half:
            self._left_out += len(self._tail[0])
            self._tail_bytes -= len(self._tail.popleft())

    def close(self) -> None:
        if self._tail:
            tail = b"".join(self._tail)
            self._left_out += max(0, len(tail) - self._half)
            if self._left_out:
                self._write(b"\n[... %d bytes left out ...]\n" % self._left_out)
                self._left_out = 0
            self._write(tail[-self._half :])
            self._tail.clear()
            self._tail_bytes = 0
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, data: bytes) -> None:
        if self._unwritable:
            return
        try:
            if self._fd is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:  # a full disk, or something of that name: no reason to end what runs on this node
            self._unwritable = True
            print(f"what evaluations print cannot be kept in {self._path}: {error.strerror}", file=sys.stderr)
