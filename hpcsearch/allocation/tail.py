"""The last round of a search: which nodes take what is left of the budget, so that the others can go.

Nodes go one after the other when few of them take the last evaluations. Those few are chosen so that the search ends
hardly later: they are expected to take all that is left before the longest of the running evaluations ends, or else
before all nodes together would have done it. Durations are known only of evaluations that have finished; what is left
of a running one is judged by those that took longer than it has run.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.nodes import Node, NodeTable, Placement

#: The last round begins when so many evaluations a slot are left. With more, nodes go earlier and the search ends
#: later: by 1 to 2 % with 1, half of that with 0.5, several times as much with 4.
ROUND = 1.0
#: An evaluation must be expected to begin so many mean durations before the others end: so it seldom ends last itself.
#: Where durations differ little nothing is that long, and all nodes work to the end of the budget.
MARGIN = 3.0
#: The distribution of durations is judged by so many of its quantiles.
POINTS = 128
#: Nodes are chosen again after this share of a mean duration, and after this time (seconds) for each slot, at least.
CHOICE_LASTS, CHOICE_LASTS_PER_SLOT_S = 0.02, 1e-4
#: A busy slot is busy for so long (seconds) at least, so that it is never taken for a free one.
BUSY_S = 1e-9


class Outlook:
    """How long evaluations take, by those that have finished.

    Args:
        seconds: durations, ascending; none when none is known.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds
        self._sums = [0.0]  # of the longest one, two, ...
        for duration_s in reversed(seconds):
            self._sums.append(self._sums[-1] + duration_s)
        self.mean_s = self._sums[-1] / max(1, len(seconds))

    @classmethod
    def by(cls, durations: Durations) -> Self:
        """By the quantiles of those that have finished."""
        quantiles = (durations.quantile(point / (POINTS - 1)) for point in range(POINTS))
        return cls([duration_s for duration_s in quantiles if duration_s is not None])

    def left_s(self, age_s: float) -> float:
        """Seconds that an evaluation is expected to go on that has run for so long.

        One more is taken to have run twice as long, for one that is older than all others will not end at once.
        """
        longer = len(self._seconds) - bisect_right(self._seconds, age_s)
        return (self._sums[longer] - longer * age_s + age_s) / (longer + 1)


def fill_s(left_s: Iterable[float], work_s: float) -> float:
    """When slots that are busy for so long have done ``work_s`` more slot-seconds, shared so that all end together."""
    filled_s = work_s
    ordered = sorted(left_s)
    for count, (slot_s, next_s) in enumerate(zip(ordered, [*ordered[1:], math.inf], strict=True), start=1):
        filled_s += slot_s
        if filled_s <= count * next_s:
            return filled_s / count
    return 0.0


def room(left_s: Iterable[float], until_s: float, mean_s: float) -> float:
    """How many evaluations slots take that are busy for so long, by ``until_s``; a free slot takes one at least."""
    return sum(
        max(float(slot_s == 0.0), (until_s - slot_s) / mean_s if slot_s < until_s and mean_s else 0.0)
        for slot_s in left_s
    )


def takers(
    nodes: Sequence[Node], first: str, left_s: Mapping[str, Sequence[float]], left: float, mean_s: float
) -> list[str]:
    """The fewest nodes that take what is left in time, in the order in which they are to be filled.

    The first node comes first, for it cannot go; then those that are expected to be held longest anyway.

    Args:
        nodes: all that there are.
        first: the node that cannot go.
        left_s: by node, how long each of its slots is expected to be busy; 0 for a free one.
        left: evaluations that are still to be started.
        mean_s: how long one takes; 0 when that is not known.
    """
    by_need = sorted(nodes, key=lambda node: (node.name != first, -max(left_s[node.name]), -node.busy))
    order = [node.name for node in by_need]
    slots_s = [slot_s for name in order for slot_s in left_s[name]]
    until_s = max(fill_s(slots_s, left * mean_s), max(slots_s, default=0.0)) - MARGIN * mean_s
    low, high = 1, len(order)
    while low < high:
        count = (low + high) // 2
        if room((slot_s for name in order[:count] for slot_s in left_s[name]), until_s, mean_s) >= left:
            high = count
        else:
            low = count + 1
    return order[:low]


def slots_left_s(
    table: NodeTable, running: Iterable[tuple[Placement, float | None]], outlook: Outlook, now_s: float
) -> dict[str, list[float]]:
    """By node, how long each of its open slots is expected to be busy; 0 for a free one. See ``Tail.takers``."""
    slots_s = {placement: 0.0 for node in table.nodes.values() for placement in node.open}
    for placement, begun_s in running:
        if placement in slots_s and table.nodes[placement.node].loads[placement.slot]:
            age_s = 0.0 if begun_s is None else now_s - begun_s
            slots_s[placement] += max(BUSY_S, outlook.left_s(age_s))
    left_s: dict[str, list[float]] = {name: [] for name in table.nodes}
    for placement, slot_s in slots_s.items():
        left_s[placement.node].append(slot_s)
    return left_s


def better_later(idle: int, others_s: Iterable[float], end_s: float) -> bool:
    """Whether more nodes given back together later save more node-seconds than the idle ones given back now.

    Args:
        idle: how many could go now.
        others_s: when each of the others that can go is expected to be idle, too (seconds from now).
        end_s: when the search is expected to end.
    """
    now = idle * end_s
    return any((idle + count) * (end_s - at_s) > now for count, at_s in enumerate(sorted(others_s), start=1))


class Tail:
    """Knows when the last round has begun, and which nodes take it.

    Args:
        first: the node that cannot go: the driver is on it.
        round_: evaluations a slot with which it begins.
    """

    def __init__(self, first: str, round_: float = ROUND) -> None:
        self._first = first
        self._round = round_
        self._chosen: list[str] = []
        self._among = 0
        self._lasts_to_s = -math.inf

    def takers(
        self,
        table: NodeTable,
        running: Iterable[tuple[Placement, float | None]],
        left: float,
        durations: Durations,
        now_s: float,
    ) -> list[str] | None:
        """The nodes on which evaluations may still be started, those first that are to be filled first.

        Nothing is looked at before the last round. In it, a choice takes some microseconds for each slot, and holds for
        a while.

        Args:
            table: all slots.
            running: where evaluations are, and when they began; None for those that have not.
            left: evaluations that may still be started.
            durations: of those that have finished.
            now_s: the time, on the clock of ``running``.

        Returns:
            None before the last round: any node will do.
        """
        if left > max(table.free, self._round * table.slots):
            return None
        if left <= 0 or not table.nodes:
            return [self._first]
        if now_s >= self._lasts_to_s or self._among != len(table.nodes) - len(table.resting):
            self._choose(table, running, left, durations, now_s)
        return self._chosen

    def _choose(
        self,
        table: NodeTable,
        running: Iterable[tuple[Placement, float | None]],
        left: float,
        durations: Durations,
        now_s: float,
    ) -> None:
        outlook = Outlook.by(durations)
        left_s = slots_left_s(table, running, outlook, now_s)
        awake = [node for node in table.nodes.values() if node.name not in table.resting and left_s[node.name]]
        self._chosen = takers(awake, self._first, left_s, left, outlook.mean_s)
        self._among = len(table.nodes) - len(table.resting)
        self._lasts_to_s = now_s + max(CHOICE_LASTS * outlook.mean_s, CHOICE_LASTS_PER_SLOT_S * table.slots)

    def better_later(
        self,
        table: NodeTable,
        running: Iterable[tuple[Placement, float | None]],
        idle: Collection[str],
        takers: Collection[str],
        durations: Durations,
        now_s: float,
    ) -> bool:
        """``better_later`` for the nodes ``idle``, when all but ``takers`` go sooner or later."""
        left_s = slots_left_s(table, running, Outlook.by(durations), now_s)
        idle_at_s = {name: max(slots_s, default=0.0) for name, slots_s in left_s.items()}
        others_s = [at_s for name, at_s in idle_at_s.items() if name not in idle and name not in takers]
        return better_later(len(idle), others_s, max(idle_at_s.values(), default=0.0))
