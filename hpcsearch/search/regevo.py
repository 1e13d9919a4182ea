"""Regularised evolution (Real and others, 2019): the best of a few is changed a little, and the oldest member dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.candidates import moves
from hpcsearch.search.columns import Array
from hpcsearch.search.population import Beginning, check_at_least, encoded


class RegevoSearch:
    """Ageing evolution without generations; good where many hyperparameters are choices.

    A parent is the best of ``sample`` members drawn at random; its child differs in one hyperparameter, or now and then
    in another one, too. Members die of age, never of a bad result, so that luck with noise does not last.

    Args:
        setting: problem, encoding, source of chance.
        population: how many members live at once.
        sample: how many of them compete to be a parent.
    """

    def __init__(self, setting: Setting, population: int = 30, sample: int = 8) -> None:
        check_at_least("regevo", population=(population, 2), sample=(sample, 1))
        if sample > population:
            raise SearchError(
                f"sample={sample} of regevo is more than its population={population}.",
                "Give less, or raise population.",
            )
        self._setting = setting
        self._sample = sample
        self._members: deque[tuple[Array, float]] = deque(maxlen=population)
        self._beginning = Beginning(setting, population)
        self._pending = 0
        self._steps = np.ones(len(setting.encoding.columns))

    def ask(self, n: int) -> Sequence[Configuration]:
        first = self._beginning.take(min(n, self._beginning.missing) if self._members else n)
        if len(first) == n or not self._members:
            return first
        encoding, rng = self._setting.encoding, self._setting.random
        parents = np.array([self._parent() for _ in range(n - len(first))])
        moved = rng.random(parents.shape) < 0.5 / max(1, parents.shape[1])
        return first + encoding.decode(moves(encoding, parents, moved, self._steps, rng))

    def pending(self, configurations: Sequence[Configuration]) -> None:
        self._pending += len(configurations)
        self._beginning.placed(len(configurations))

    def tell(self, results: Sequence[Outcome]) -> None:
        strangers = max(0, len(results) - self._pending)  # of an earlier allocation, never pending in this one
        self._pending -= len(results) - strangers
        self._beginning.placed(strangers)
        rows, objectives = encoded(self._setting, results)
        self._members.extend((row, value) for row, value in zip(rows, objectives, strict=True) if not np.isnan(value))

    def _parent(self) -> Array:
        drawn = self._setting.random.integers(len(self._members), size=self._sample)
        return max((self._members[index] for index in drawn.tolist()), key=lambda member: member[1])[0]
