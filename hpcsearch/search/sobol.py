"""Sobol's sequence: points that fill the space evenly, whatever comes of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.stats import qmc

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Objectives, Outcome, Setting

#: Points are drawn in blocks of a power of two, for which the sequence is balanced.
_BLOCK = 256

#: Blocks without a single configuration that is new before it gives up: the space is small, or nearly all is forbidden.
_FRUITLESS_BLOCKS = 64


class SobolSearch:
    """A scrambled Sobol sequence, walked through by each hyperparameter's own distribution.

    It follows from the seed alone: a resumed search goes on with the same sequence, where it stood.
    """

    objectives: Objectives = "any"

    def __init__(self, setting: Setting) -> None:
        dimensions = len(setting.encoding.columns)
        if dimensions > qmc.Sobol.MAXDIM:
            raise SearchError(
                f"A Sobol sequence has no {dimensions} dimensions, one for each hyperparameter.", "Use random instead."
            )
        self._setting = setting
        self._sequence: qmc.Sobol | None = None
        self._ready: list[Configuration] = []
        self._known: set[Hashable] = set()

    def ask(self, n: int) -> Sequence[Configuration]:
        key = self._setting.encoding.key
        suggested: list[Configuration] = []
        fruitless = 0
        while len(suggested) < n and fruitless < _FRUITLESS_BLOCKS:
            if not self._ready:
                self._ready = self._block()
            found, before = 0, len(suggested)
            for found, configuration in enumerate(self._ready, start=1):  # noqa: B007 - how many were looked at
                name = key(configuration)
                if name not in self._known:
                    self._known.add(name)
                    suggested.append(configuration)
                if len(suggested) == n:
                    break
            self._ready = self._ready[found:]
            fruitless = 0 if len(suggested) > before else fruitless + 1
        return suggested

    def pending(self, configurations: Sequence[Configuration]) -> None:
        self._known.update(self._setting.encoding.key(configuration) for configuration in configurations)

    def tell(self, results: Sequence[Outcome]) -> None:
        self._known.update(self._setting.encoding.key(configuration) for configuration, _ in results)

    def _block(self) -> list[Configuration]:
        encoding = self._setting.encoding
        if not encoding.columns:
            return [{}]
        if self._sequence is None:
            seed = self._setting.random if self._setting.seed is None else np.random.default_rng(self._setting.seed)
            self._sequence = qmc.Sobol(len(encoding.columns), scramble=True, seed=seed)
        return encoding.decode(encoding.from_unit(self._sequence.random(_BLOCK)))
