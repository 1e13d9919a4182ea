"""What all schedulers share: the states of an allocation, and what a scheduler can do."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site


class AllocationState(enum.StrEnum):
    """Where an allocation stands, on every scheduler."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    ENDED = "ENDED"
    UNKNOWN = "UNKNOWN"


class EndCause(enum.StrEnum):
    """Why an allocation ended, where the scheduler tells."""

    NONE = ""
    DONE = "done"
    FAILED = "failed"
    WALLTIME = "walltime"
    CANCELLED = "cancelled"
    NODE_FAILURE = "node failure"
    OUT_OF_MEMORY = "out of memory"
    PREEMPTED = "preempted"


@dataclass(frozen=True)
class AllocationStatus:
    """An allocation's state with the reason as a sentence; ``word`` is the scheduler's own.

    ``can_run`` is False for one that waits but will never start.
    """

    state: AllocationState
    reason: str = ""
    word: str = ""
    cause: EndCause = EndCause.NONE
    time_left_s: int | None = None
    can_run: bool = True


class Scheduler(Protocol):
    """A scheduler's functions, each module of this package that is named in the table has them."""

    def argv(self, request: AllocationRequest) -> tuple[str, ...]:
        """The command that submits ``request.script``."""

    def dropped_variables(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """The variables of the submitter's that would override the script, and are not passed to the command."""

    def status(self, site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
        """Every id's status, from one query; raises SchedulerError when the scheduler does not answer."""

    def first_look(self, site: Site, identifier: str) -> AllocationStatus:
        """The status right after submission, from one query or, within the site's poll interval, from none."""

    def cancel(self, identifier: str) -> None:
        """Ends an allocation, or does nothing when it has ended; raises SchedulerError when that is refused."""
