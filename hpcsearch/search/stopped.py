"""What a strategy is told of evaluations that were stopped early.

The last value of one is that of a part of the evaluation: as a plain result it would mislead. Where curves rise it is
too bad, so that the region around it looks worse than it is; where noise or overfitting make them fall it can be better
than what finished. What is known is that a rule found it behind the others. So it counts as its last value, but never
better than the median of what has finished by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome
from hpcsearch.search.stopping.order import TopShare

#: One whose last value is not known, or is of a metric that says nothing of the objective's size, counts as the value
#: that this share of the finished ones exceed.
_UNKNOWN_BEHIND = 0.75


class Bounds:
    """Bounds by what has finished; adding a value costs O(log n)."""

    def __init__(self) -> None:
        self._median = TopShare(0.5, more=1)
        self._unknown = TopShare(_UNKNOWN_BEHIND, more=1)
        self._waiting: list[Configuration] = []  # nothing has finished by which they could be judged

    def finished(self, outcomes: Iterable[Outcome]) -> None:
        """These came to their end."""
        for _, value in outcomes:
            if value is not None:
                self._median.add(value)
                self._unknown.add(value)

    def of(self, stopped: Sequence[Outcome]) -> list[Outcome]:
        """What to tell of these; without those that cannot be judged yet, see ``released``."""
        limit, instead = self._median.limit, self._unknown.limit
        told: list[Outcome] = []
        for configuration, value in stopped:
            if value is not None:
                told.append((configuration, value if limit is None else min(value, limit)))
            elif instead is not None:
                told.append((configuration, instead))
            else:
                self._waiting.append(configuration)
        return told

    def released(self) -> list[Outcome]:
        """What to tell of those that could not be judged before."""
        waiting, self._waiting = self._waiting, []
        return self.of([(configuration, None) for configuration in waiting])
