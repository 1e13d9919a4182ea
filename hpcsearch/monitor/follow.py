"""A file as it grows: its end, and what is written to it while somebody watches.

Files are looked at by their size, now and then: other hosts write them, of whose writes no kernel here gives notice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hpcsearch.errors import DatabaseError

#: Between two looks at the files, and two questions whether what writes them has ended (seconds).
_LOOK_S = 0.25
_ASK_S = 2.0

_BLOCK = 1 << 16

Pieces = Generator[bytes, None, None]


class _Growing:
    """One file, from its last ``lines`` lines on, or from its beginning; it may appear later, or be begun anew."""

    def __init__(self, path: Path, lines: int | None = None) -> None:
        self._path = path
        self._lines = lines
        self._file: BinaryIO | None = None

    def news(self) -> Iterator[bytes]:
        """What has been written since the last call, in pieces."""
        while (file := self._file or self._open()) is not None:
            self._file = file
            while block := file.read(_BLOCK):
                yield block
            if not self._begun_anew(file):
                return
            self.close()

    def _open(self) -> BinaryIO | None:
        lines, self._lines = self._lines, None  # what comes later is shown whole
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatabaseError(f"{self._path} cannot be read: {error.strerror}.") from None
        if lines is not None:
            file.seek(start_of_last_lines(file, lines))
        return file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begun_anew(self, file: BinaryIO) -> bool:
        try:
            now = self._path.stat()
        except OSError:  # it has gone; what it still gets is read through the open file
            return False
        opened = os.fstat(file.fileno())
        return (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino) or now.st_size < file.tell()


def start_of_last_lines(file: BinaryIO, lines: int) -> int:
    """The position at which the last ``lines`` lines (1 or more) of a file begin."""
    position = end = file.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block) - (position == end)  # a newline at the very end begins no line
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            lines -= 1
            if lines == 0:
                return start + at + 1
        position = start
    return 0


def read_files(paths: Iterable[Path], lines: int | None, ended: Callable[[], bool] | None) -> Pieces:
    """What is in the files, from their last ``lines`` lines on (None: all), in pieces.

    With ``ended`` also what is written to them from then on, until it says that nobody writes any more.
    Raises DatabaseError for a file that is there and cannot be read.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(contextlib.closing(_Growing(path, lines))) for path in paths]
        asked_s = -_ASK_S
        over = ended is None
        while True:
            for file in files:
                yield from file.news()
            if over or ended is None:
                return
            now_s = time.monotonic()
            if now_s - asked_s >= _ASK_S:
                asked_s, over = now_s, ended()
            time.sleep(_LOOK_S)  # before the last look too: the last line is written a little after the end is recorded
