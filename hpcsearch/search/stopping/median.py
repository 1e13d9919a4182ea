"""The median rule: who is behind half of those that finished is stopped."""

from __future__ import annotations

import math

from hpcsearch.errors import SearchError
from hpcsearch.search.stopping.order import TopShare


class _Curve:
    """What one evaluation has reported: the mean of its values up to each step, and the best of them."""

    def __init__(self) -> None:
        self.best = -math.inf
        self.means: dict[float, float] = {}
        self._last = -math.inf
        self._count = 0

    def add(self, step: float, value: float) -> None:
        if step <= self._last:
            self._go_back(step)
        self._count += 1
        mean = next(reversed(self.means.values()), 0.0)
        self.means[step] = mean + (value - mean) / self._count if math.isfinite(mean) else mean
        self._last = step
        self.best = max(self.best, value)

    def _go_back(self, step: float) -> None:
        """It goes on from an earlier step: what came after that is being done again."""
        self.means = {earlier: mean for earlier, mean in self.means.items() if earlier < step}
        self._count = len(self.means)
        if not self.means:
            self.best = -math.inf


class MedianStopper:
    """Stops an evaluation whose best value so far is worse than the median of what others had on average by that step.

    The others are the evaluations that finished; at each step those of them that reported there. What counts of each is
    the mean of its values up to the step, so that luck at one step decides nothing.

    The median stopping rule of Vizier (Golovin, Solnik, Moitra, Kochanski, Karro, Sculley: Google Vizier: A Service for
    Black-Box Optimization, KDD 2017, section 3.2.2), which supposes nothing of how values grow with the steps.

    Args:
        startup: at each step so many evaluations must have finished before any is stopped there.
        warmup: nothing is stopped up to this step.
    """

    def __init__(self, startup: int = 4, warmup: float = 0.0) -> None:
        if startup < 1:
            raise SearchError(f"startup={startup} is no number of evaluations for median.", "Give 1 or more.")
        self._startup = startup
        self._warmup = warmup
        self._curves: dict[int, _Curve] = {}  # of those that have not ended
        self._finished: dict[float, TopShare] = {}  # means of those that finished, by step

    def tell(self, evaluation: int, step: float, value: float) -> bool:
        curve = self._curves.get(evaluation)
        if curve is None:
            curve = self._curves[evaluation] = _Curve()
        curve.add(step, value)
        others = self._finished.get(step)
        if step <= self._warmup or others is None or len(others) < self._startup:
            return False
        return others.limit is not None and curve.best < others.limit

    def ended(self, evaluation: int, finished: bool) -> None:
        curve = self._curves.pop(evaluation, None)
        if finished and curve is not None:
            for step, mean in curve.means.items():
                self._finished.setdefault(step, TopShare(0.5, more=1)).add(mean)
