"""What evolutionary strategies share: members with their objectives, and the draws that a population begins with."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.columns import Array
from hpcsearch.search.design import latin_hypercube

#: Designs that are drawn for one ask, at most.
_DESIGNS = 16


class Beginning:
    """Configurations that cover the space, for as long as a population has not been placed and had its first results.

    Nothing waits for it: what has ended counts as much as what is still running, and failures count, too.
    """

    def __init__(self, setting: Setting, size: int) -> None:
        self._setting = setting
        self._size = size
        self._design: deque[Configuration] = deque()
        self._known = 0

    def placed(self, count: int) -> None:
        """So many configurations more are pending or told for the first time."""
        self._known += count

    @property
    def missing(self) -> int:
        """How many are still to be placed."""
        return max(0, self._size - self._known)

    def take(self, n: int) -> list[Configuration]:
        """Up to ``n`` configurations that cover the space."""
        encoding, rng = self._setting.encoding, self._setting.random
        for _ in range(_DESIGNS):  # forbidden points are dropped from each
            if len(self._design) >= n or not encoding.columns:
                break
            unit = latin_hypercube(max(self.missing, n, 2), len(encoding.columns), rng)
            self._design.extend(encoding.decode(encoding.from_unit(unit)))
        return [self._design.popleft() for _ in range(min(n, len(self._design)))]


def check_at_least(strategy: str, **settings: tuple[float, float]) -> None:
    """Raises SearchError for the first of ``name=(value, least)`` that is smaller than it may be."""
    for name, (value, least) in settings.items():
        if value < least:
            raise SearchError(f"{name}={value} is too small for {strategy}.", f"Give at least {least}.")


def check_share(strategy: str, **settings: float) -> None:
    """Raises SearchError for the first of ``name=value`` that does not lie between 0 and 1."""
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise SearchError(f"{name}={value} of {strategy} is not a probability.", "Give a number from 0 to 1.")


def encoded(setting: Setting, results: Sequence[Outcome]) -> tuple[Array, Array]:
    """Results as rows and objectives, NaN for a failure."""
    rows = setting.encoding.encode([configuration for configuration, _ in results])
    return rows, np.array([np.nan if objective is None else objective for _, objective in results])
