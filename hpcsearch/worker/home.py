"""What slots and ranks, which live on a node, need of its agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hpcsearch.worker.slotprocess import SlotProcess


class Home(Protocol):
    """What the agent does for its slots and ranks."""

    def tell(self, *events: list[Any]) -> None:
        """Sends events to the driver."""

    def adopt(self, pid: int, ended: Callable[[int], None]) -> None:
        """Calls back with the wait status of a child, when it has ended and what it has left behind is killed."""

    def listen(self, fd: int, callback: Callable[[], object]) -> None:
        """Calls back whenever ``fd`` can be read."""

    def forget(self, fd: int) -> None:
        """Stops listening; it may have been given up before."""

    def take_output(self, process: SlotProcess) -> None:
        """Takes what a process has printed."""

    def expect_reports(self) -> None:
        """Something has begun that may report."""
