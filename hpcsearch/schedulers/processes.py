"""Processes by an id that never comes again: ``<pid>.<start time>.<host>``, read from /proc by any process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

#: The states in /proc/<pid>/stat of a process that has ended.
_DEAD = frozenset("ZXx")


@dataclass(frozen=True)
class ProcessId:
    """A process: ``start`` is its start time in clock ticks since the host's boot."""

    pid: int
    start: int
    host: str

    def __str__(self) -> str:
        return f"{self.pid}.{self.start}.{self.host}"

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        """Raises ValueError for what ``str`` of a ProcessId does not give."""
        pid, start, host = text.split(".", 2)
        return cls(int(pid), int(start), host)

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The id of a process of this host that has not been waited for; raises ProcessLookupError."""
        _, start = _stat(pid)
        return cls(pid, start, socket.gethostname())

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def alive(self) -> bool:
        """Whether it still runs on this host; a zombie does not."""
        try:
            state, start = _stat(self.pid)
        except ProcessLookupError:
            return False
        return start == self.start and state not in _DEAD

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; nothing happens when the process has ended. Raises PermissionError."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            # The handle is held first: whoever is alive after that is the process that it is for
            try:
                if self.alive():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def _stat(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"there is no process {pid}") from None
    # The command's name stands in parentheses and may hold blanks and parentheses itself
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])
