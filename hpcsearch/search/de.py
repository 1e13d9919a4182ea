"""Differential evolution without generations: each result changes the population at once, and no worker waits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.columns import Array, Column
from hpcsearch.search.population import Beginning, check_at_least, check_share, encoded

Indices = NDArray[np.intp]

#: A trial takes from three others beside its target.
_LEAST = 4


class DeSearch:
    """Steady-state differential evolution (rand-to-best/1/bin).

    A trial is a member of the population moved towards the best one, and along the difference of two others; a share of
    its hyperparameters stays that of the member it competes with, whose place it takes if it is no worse. A choice
    whose donors differ becomes one of theirs. Failures never enter the population.

    Args:
        setting: problem, encoding, source of chance.
        population: how many members; 4 for each hyperparameter by default, 12 at least and 60 at most.
        mutation: how far a trial moves along a difference, a factor from 0 to 2.
        crossover: the probability that a hyperparameter is the trial's own, from 0 to 1.
    """

    def __init__(
        self, setting: Setting, population: int | None = None, mutation: float = 0.5, crossover: float = 0.8
    ) -> None:
        dimensions = sum(column.size > 1 for column in setting.encoding.columns)
        self.population = min(max(12, 4 * dimensions), 60) if population is None else population
        check_at_least("de", population=(self.population, _LEAST))
        check_share("de", crossover=crossover)
        if not 0 < mutation <= 2:
            raise SearchError(f"mutation={mutation} is not a step that de can make.", "Give a number above 0, up to 2.")
        self._setting = setting
        self._mutation = mutation
        self._crossover = crossover
        self._rows = np.empty((0, len(setting.encoding.columns)))
        self._objectives = np.empty(0)
        self._beginning = Beginning(setting, self.population)
        self._targets: dict[Hashable, int | None] = {}  # of what is suggested or pending: the member it competes with
        self._placed: set[Hashable] = set()
        self._turn = 0

    def ask(self, n: int) -> Sequence[Configuration]:
        self._targets = {key: self._targets.get(key) for key in self._placed}  # what was not taken is forgotten
        if len(self._rows) < _LEAST:
            return self._beginning.take(n)
        first = self._beginning.take(min(n, self._beginning.missing))
        encoding, rng = self._setting.encoding, self._setting.random
        targets = np.arange(self._turn, self._turn + n - len(first)) % len(self._rows)
        self._turn += len(targets)
        rows = encoding.filled(self._trials(targets), rng)
        legal = encoding.allowed(rows)
        trials = encoding.decode(rows[legal])
        for configuration, target in zip(trials, targets[legal].tolist(), strict=True):
            self._targets[encoding.key(configuration)] = target
        return first + trials

    def pending(self, configurations: Sequence[Configuration]) -> None:
        self._placed.update(self._setting.encoding.key(configuration) for configuration in configurations)
        self._beginning.placed(len(configurations))

    def tell(self, results: Sequence[Outcome]) -> None:
        rows, objectives = encoded(self._setting, results)
        for (configuration, _), row, objective in zip(results, rows, objectives, strict=True):
            key = self._setting.encoding.key(configuration)
            target = self._targets.pop(key, None)
            if key in self._placed:
                self._placed.remove(key)
            else:
                self._beginning.placed(1)
            if not np.isnan(objective):
                self._compete(row, objective, target)

    def _compete(self, row: Array, objective: float, target: int | None) -> None:
        if len(self._rows) < self.population:
            self._rows = np.vstack([self._rows, row])
            self._objectives = np.append(self._objectives, objective)
            return
        if target is None:  # a starting point, or of an earlier allocation
            target = int(np.argmin(self._objectives))
        if objective >= self._objectives[target]:
            self._rows[target], self._objectives[target] = row, objective

    def _trials(self, targets: Indices) -> Array:
        """A row for each target; those may be illegal."""
        rng, rows, n = self._setting.random, self._rows, len(targets)
        ranks = rng.random((n, len(rows)))
        ranks[np.arange(n), targets] = np.inf  # the last one, so not among the donors
        best = np.full(n, np.argmax(self._objectives))
        donors = rows[np.vstack([np.argsort(ranks, axis=1)[:, :3].T, best])]
        towards, step = rng.random(n), self._mutation * rng.uniform(0.5, 1.5, n)
        trials = rows[targets]
        crossed = rng.random(trials.shape) < self._crossover
        crossed[np.arange(n), rng.integers(trials.shape[1], size=n)] = True
        for index, column in enumerate(self._setting.encoding.columns):
            mutants = _mutants(column, donors[:, :, index], towards, step, rng)
            trials[:, index] = np.where(crossed[:, index], mutants, trials[:, index])
        return trials


def _mutants(column: Column, donors: Array, towards: Array, step: Array, rng: np.random.Generator) -> Array:
    """Numbers of one hyperparameter: from a base towards the best, and along the way from one donor to another."""
    base, minus, plus, best = donors
    if not column.ordered:
        mixed = np.where(rng.random(len(base)) < towards, best, base)
        return np.asarray(np.where((plus != minus) & (rng.random(len(base)) < step), plus, mixed))
    moved = base + np.nan_to_num(towards * (best - base)) + np.nan_to_num(step * (plus - minus))
    lower, upper = column.reach
    inactive = np.isnan(moved)
    moved = np.where(inactive, lower, np.where(moved < lower, 2 * lower - moved, moved))
    return np.where(inactive, np.nan, column.settle(np.where(moved > upper, 2 * upper - moved, moved)))
