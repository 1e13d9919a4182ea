"""What an evaluation prints, kept in its directory: the first half of the limit, and the last half."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path


class Capture:
    """Takes an evaluation's output piece by piece; the file appears with the first byte.

    Args:
        path: the log file; its folder is made when needed.
        limit_bytes: how much is kept; the middle of a longer output is left out, and the file says how much.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._half = max(1, limit_bytes // 2)
        self._fd: int | None = None
        self._head_left = self._half
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0

    def feed(self, data: bytes) -> None:
        """Takes the next piece of output."""
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
        """Writes what is still in memory and closes the file."""
        if self._tail:
            if self._left_out:
                self._write(b"\n[... %d bytes left out ...]\n" % self._left_out)
            self._write(b"".join(self._tail))
            self._tail.clear()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, data: bytes) -> None:
        if self._fd is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
