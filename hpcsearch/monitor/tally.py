"""All evaluations of a workflow as a watcher keeps them, and what is counted of them as they change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcsearch.evaluation import END_STATES, State
from hpcsearch.monitor.places import Place

#: Ends of attempts that gave no objective.
FAILURES = frozenset({State.FAILED, State.TIMED_OUT, State.LOST})

#: Errors that differ in numbers, or behind so many characters, are counted as one.
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_GROUPED_BY = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """An evaluation as it stood when it was last looked at. Times are in seconds since 1970, UTC."""

    id: int
    config: Mapping[str, Any]
    state: State
    objective: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)  # its metadata, and what it reported last
    attempt: int = 0
    allocation: int | None = None
    nodes: tuple[str, ...] = ()
    slot: int | None = None
    slots: int = 1  # on all its nodes
    started_at: float | None = None
    ended_at: float | None = None
    duration_s: float | None = None
    gathered_at: float | None = None
    error_kind: str = ""
    error_message: str = ""

    @property
    def place(self) -> Place:
        """What it takes, while it runs."""
        return Place(self.allocation or 0, self.nodes, self.slots)

    @property
    def error(self) -> str:
        """``kind: message``, in one line; empty where nothing failed."""
        return " ".join(f"{self.error_kind}: {self.error_message}".split()) if self.error_kind else ""

    @property
    def group(self) -> str:
        """What errors are counted by."""
        return _NUMBER.sub("#", self.error)[:_GROUPED_BY]


class Tally:
    """Counts that follow each change of an evaluation, so that nobody has to go through all of them again."""

    def __init__(self, minimize: bool) -> None:
        self.minimize = minimize
        self.seen: dict[int, Seen] = {}
        self.counts: Counter[State] = Counter()
        self.running: dict[int, Seen] = {}
        self.best: Seen | None = None
        self.again = 0  # attempts beyond the first ones
        self.metrics: dict[str, None] = {}  # the names of all metrics, as they came up
        self._groups: dict[str, dict[int, Seen]] = {}
        self._ends: list[float] = []
        self._results: list[tuple[float, float]] = []
        self._sorted = True

    def put(self, one: Seen) -> None:
        """Takes an evaluation as it stands now, in the place of how it stood before."""
        before = self.seen.get(one.id)
        if before is not None:
            self._leave(before)
        self.seen[one.id] = one
        self.metrics.update(dict.fromkeys(one.metrics))
        self.counts[one.state] += 1
        self.again += max(0, one.attempt - 1)
        if one.state is State.RUNNING:
            self.running[one.id] = one
        if one.state in FAILURES and one.error_kind:
            self._groups.setdefault(one.group, {})[one.id] = one
        if one.gathered_at is not None and (before is None or before.gathered_at is None):
            self._gather(one, one.gathered_at)

    def _leave(self, before: Seen) -> None:
        self.counts[before.state] -= 1
        self.again -= max(0, before.attempt - 1)
        self.running.pop(before.id, None)
        self._groups.get(before.group, {}).pop(before.id, None)

    def _gather(self, one: Seen, at: float) -> None:
        """Its end is recorded; that happens once."""
        self._ends.append(at)
        self._sorted = False
        if one.state is State.FINISHED and one.objective is not None:
            self._results.append((at, one.objective))
            if self.best is None or self._rank(one) < self._rank(self.best):
                self.best = one

    def _rank(self, one: Seen) -> tuple[float, int]:
        objective = one.objective or 0.0
        return (objective if self.minimize else -objective), one.id

    @property
    def ended(self) -> int:
        """Evaluations that came to an end: what the budget counts."""
        return sum(self.counts[state] for state in END_STATES - {State.CANCELLED})

    @property
    def ends(self) -> Sequence[float]:
        """When ends were recorded, the first first."""
        self._sort()
        return self._ends

    @property
    def results(self) -> Sequence[tuple[float, float]]:
        """(when, objective) of all that finished, the first first."""
        self._sort()
        return self._results

    def _sort(self) -> None:
        if not self._sorted:  # nearly so always, which sorting makes use of
            self._ends.sort()
            self._results.sort()
            self._sorted = True

    def failures(self) -> list[tuple[str, list[Seen]]]:
        """The error of the latest evaluation of each group, and all that ended alike: the most frequent first."""
        groups = [(group[max(group)].error, list(group.values())) for group in self._groups.values() if group]
        return sorted(groups, key=lambda group: (-len(group[1]), group[0]))
