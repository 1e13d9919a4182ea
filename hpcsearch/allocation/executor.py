"""The seam behind which evaluations run: what the driver asks of an executor, and what an executor tells it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hpcsearch.allocation.nodes import Placement
from hpcsearch.evaluation import Evaluation, State

#: So much of an error is told where there is one line for all.
_SAID_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """How one attempt at an evaluation ended. Times are seconds since 1970; ``started_at`` is None if it never began.

    ``killed_by`` is the signal that ended its process, where nobody here had sent it: such a death may turn out to be
    the end of the whole allocation.
    """

    state: State
    started_at: float | None
    ended_at: float
    duration_s: float | None = None
    objective: float | None = None
    metadata: Mapping[str, Any] | None = None
    failure: Mapping[str, str] | None = None
    killed_by: int | None = None

    @property
    def in_words(self) -> str:
        """How it ended, with the last line of its error."""
        failure = self.failure or {}
        lines = failure.get("message", "").strip().splitlines() or [""]
        said = ": ".join(part for part in (failure.get("kind", ""), lines[-1].strip().rstrip(".")) if part)
        words = self.state.value.replace("_", " ").lower()
        return f"{words} ({textwrap.shorten(said, _SAID_CHARACTERS, placeholder='...')})" if said else words


class Listener(Protocol):
    """What the driver takes from an executor."""

    def node_up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        """A node can take evaluations."""

    def node_down(self, name: str) -> None:
        """A node takes no evaluations for now; those on it have been told as ended or recalled before."""

    def slot_lost(self, placement: Placement, reason: str) -> None:
        """A slot takes no more evaluations, while others of its node do."""

    def node_lost(self, name: str, reason: str) -> None:
        """A node takes no more evaluations in this allocation."""

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        """An evaluation began."""

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        """An attempt ended."""

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None:
        """An evaluation came back before it began."""

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        """A running evaluation told how it is doing."""

    def node_emptied(self, name: str) -> None:
        """Everything on a node has ended, its agent included, as ``Executor.empty`` asked for."""

    def unable(self, reason: str) -> None:
        """No evaluation can be started in this allocation."""

    def terminating(self) -> None:
        """Somebody else is ending this allocation."""


class Executor(Protocol):
    """One way of running evaluations. All calls return at once; what comes of them is told to the listener."""

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        """Sends an evaluation to its place."""

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        """Asks running evaluations to end by themselves, in ``state``: STOPPED or INTERRUPTED. Not all will."""

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        """Ends running evaluations, which then end in ``state``; those that have not begun are recalled."""

    def recall(self, evaluations: Iterable[int]) -> None:
        """Takes back those that have not begun."""

    def dispatch(self) -> None:
        """Sends off what was started since the last call."""

    def close(self) -> None:
        """Ends whatever of its own is left."""
