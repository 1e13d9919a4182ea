"""Reports on their way from a slot to its agent, at a cost that a run function does not notice.

They have a pipe of their own which the agent does not listen to: to be woken for each would take the slot's core for a
tenth of a millisecond. The agent fetches them instead, often while they come often. What is in a pipe outlives the
process that wrote it, so nothing is lost when that is killed; a pipe that is full is announced.
"""

from __future__ import annotations

import math
import os
import select
import threading
from collections.abc import Callable
from typing import Any

from hpcsearch.worker.telling import encode

#: Between two looks at the pipes, seconds: the shorter while something is found, up to the longer while nothing is.
SOON_S, LATER_S = 0.05, 0.5


class ReportPipe:
    """A slot's end.

    Args:
        fd: the pipe, which this sets to not blocking.
        announce: called when the pipe is full, so that the agent comes at once.
    """

    def __init__(self, fd: int, announce: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._announce = announce
        self._turn = threading.Lock()  # threads of a run function report, too

    def send(self, message: Any) -> None:
        """Writes a message; waits only while the pipe is full."""
        line = encode(message).encode() + b"\n"
        with self._turn:
            while line:
                try:
                    line = line[os.write(self._fd, line) :]
                except BlockingIOError:
                    self._announce()
                    room = select.poll()
                    room.register(self._fd, select.POLLOUT)
                    room.poll()


class Rounds:
    """When the agent looks for reports next, as long as anything runs that may report."""

    def __init__(self) -> None:
        self.due_s = math.inf
        self._pause_s = SOON_S

    def begin(self, now_s: float) -> None:
        """An evaluation has begun."""
        self._pause_s = SOON_S
        self.due_s = min(self.due_s, now_s + SOON_S)

    def looked(self, now_s: float, found: bool, running: bool) -> None:
        """A round is done: something was found or not, something may still report or not."""
        self._pause_s = SOON_S if found else min(LATER_S, 2 * self._pause_s)
        self.due_s = now_s + self._pause_s if running else math.inf
