"""Order statistics that grow one value at a time."""

from __future__ import annotations

import heapq


class TopShare:
    """The best share of all values so far; adding one costs O(log n), asking for the limit O(1).

    Args:
        share: above 0 and below 1; of n values the ``int(n * share) + more`` greatest are in it.
        more: 0, or 1: then the limit of a half is the median (of an even number of values the lower one).
    """

    def __init__(self, share: float, more: int = 0) -> None:
        self._share = share
        self._more = more
        self._top: list[float] = []  # a heap whose first is the least of the best share
        self._rest: list[float] = []  # a heap of negated values, whose first is the greatest of the others

    def __len__(self) -> int:
        return len(self._top) + len(self._rest)

    def add(self, value: float) -> None:
        """Takes a value in."""
        if self._top and value > self._top[0]:
            value = heapq.heapreplace(self._top, value)
        heapq.heappush(self._rest, -value)
        if len(self._top) < int(len(self) * self._share + 1e-9) + self._more:
            heapq.heappush(self._top, -heapq.heappop(self._rest))

    @property
    def limit(self) -> float | None:
        """The least value of the best share; None while that is empty."""
        return self._top[0] if self._top else None
