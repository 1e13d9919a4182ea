"""What waits for evaluations that succeed: the end of a search by ``--max-success``, its beginning by ``--smoke``."""

from __future__ import annotations

import math

from hpcsearch.evaluation import State


class Successes:
    """Counts evaluations that succeeded, and tells how many more may be under way because of that.

    Each of those that are under way may succeed. So no more are than are still wanted, and the count is never exceeded.

    Args:
        count: how many have succeeded before.
        wanted: with so many the search ends; None for no end.
        first_alone: whether one has to succeed before any other begins.
    """

    def __init__(self, count: int, wanted: int | None, first_alone: bool) -> None:
        self._count = count
        self._wanted = math.inf if wanted is None else wanted
        self._first_alone = first_alone

    def take(self, state: State) -> None:
        """An evaluation ended."""
        self._count += state is State.FINISHED

    @property
    def testing(self) -> bool:
        """Whether the first one that has to succeed is still to do so."""
        return self._first_alone and self._count == 0

    def left(self, under_way: int) -> float:
        """How many more may be started in all, beside those that are under way."""
        return max(0, self._wanted - self._count - under_way)

    def room(self, under_way: int) -> float:
        """How many more may be started now."""
        return max(0, 1 - under_way) if self.testing else self.left(under_way)

    @property
    def end(self) -> str:
        """Why no other is needed; empty as long as one is."""
        return "" if self._count < self._wanted else f"{self._wanted} evaluations have succeeded"
