"""JSON lines over a pair of file descriptors that never block: how all of hpcsearch's processes speak to each other.

A line is one JSON value. Reading takes whatever has arrived and gives the whole lines; writing keeps what the other
side does not take yet, so a slow or stopped reader never holds up its writer.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from typing import Any

_READ_BYTES = 1 << 16  # what a pipe holds; more would be mapped and unmapped at every read

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


class ClosedError(Exception):
    """The other side has gone."""


class Channel:
    """One end of a conversation, over two descriptors that it owns.

    Args:
        read_fd: where the other side's lines arrive.
        write_fd: where this side's lines go.
        on_noise: called with each line that is not JSON; without it such a line is an error.
    """

    def __init__(self, read_fd: int, write_fd: int, on_noise: Callable[[str], None] | None = None) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._on_noise = on_noise
        self._partial = bytearray()
        self._unsent: list[bytes] = []
        self._offset = 0
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)

    def receive(self) -> list[Any]:
        """The messages that have arrived, oldest first; none when nothing has.

        Raises:
            ClosedError: the other side has closed, and everything it sent was received before.
            ValueError: a line is not JSON.
        """
        try:
            data = os.read(self.read_fd, _READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ClosedError from error
        if not data:
            raise ClosedError
        end = data.rfind(b"\n")
        if end < 0:
            self._partial += data
            return []
        lines = (bytes(self._partial) + data[:end] if self._partial else data[:end]).decode(errors="replace")
        self._partial = bytearray(data[end + 1 :])
        try:
            return [_decode(line) for line in lines.split("\n")]
        except ValueError:
            if self._on_noise is None:
                raise
            return list(self._messages_among(lines.split("\n"), self._on_noise))

    def _messages_among(self, lines: list[str], on_noise: Callable[[str], None]) -> Iterator[Any]:
        for line in lines:
            try:
                yield _decode(line)
            except ValueError:
                on_noise(line)

    def send(self, message: Any) -> None:
        """Adds a message to what will be sent; see ``flush``."""
        self._unsent.append(_encode(message).encode() + b"\n")

    def flush(self) -> bool:
        """Sends as much as the other side takes now; True when nothing is left.

        Raises:
            ClosedError: the other side has gone.
        """
        while self._unsent:
            if len(self._unsent) > 1:
                self._unsent = [b"".join(self._unsent)[self._offset :]]
                self._offset = 0
            data = self._unsent[0]
            try:
                sent = os.write(self.write_fd, data[self._offset :] if self._offset else data)
            except BlockingIOError:
                return False
            except OSError as error:
                raise ClosedError from error
            self._offset += sent
            if self._offset == len(data):
                self._unsent.clear()
                self._offset = 0
        return True

    def wait(self) -> list[Any]:
        """Stays until messages have arrived, and gives them; for a process that has nothing else to do.

        Raises:
            ClosedError: the other side has gone.
        """
        while True:
            select.select([self.read_fd], [], [])
            messages = self.receive()
            if messages:
                return messages

    def deliver(self) -> None:
        """Sends everything, however long the other side takes for it.

        Raises:
            ClosedError: the other side has gone.
        """
        while not self.flush():
            select.select([], [self.write_fd], [])

    def close(self) -> None:
        """Closes both descriptors; what was not sent is dropped."""
        for fd in {self.read_fd, self.write_fd}:
            os.close(fd)


def standard_channel() -> Channel:
    """The conversation with the process that started this one, over its standard input and output.

    The descriptors are moved away, so that nothing that prints, in Python or below, can touch the protocol: standard
    input becomes empty, and standard output goes where standard error goes.
    """
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return channel
