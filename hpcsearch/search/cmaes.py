"""The evolution strategy with covariance matrix adaptation, by the library cmaes, for mixed spaces."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.columns import Array
from hpcsearch.search.population import check_at_least, encoded

#: An integer of more values than this is as good as continuous.
_MOST_STEPS = 200

#: How often a forbidden sample is drawn again before the ask gives up on it.
_REDRAWN = 20


class CmaesSearch:
    """CatCMA with margin: floats, integers and ordinals from one Gaussian, choices from distributions of their own.

    Nothing waits for a generation: the distribution learns from results as they come, ``population`` at a time.
    Only their order counts, failures being the last. An inactive hyperparameter is drawn all the same. Where the
    distribution has shrunk to a point, a new one with twice the population begins.

    Args:
        setting: problem, encoding, source of chance.
        population: results that the distribution learns from at a time; 4 + 3 log(hyperparameters) by default.
        sigma: standard deviation at the beginning, as a share of each range.
    """

    def __init__(self, setting: Setting, population: int | None = None, sigma: float = 0.2) -> None:
        self._setting = setting
        self._layout = Layout(setting)
        self._population = 4 + int(3 * math.log(max(1, self._layout.size))) if population is None else population
        check_at_least("cmaes", population=(self._population, 4))
        if not 0 < sigma <= 1:
            raise SearchError(f"sigma={sigma} is no share of a range.", "Give a number above 0, up to 1.")
        self._sigma = sigma
        self._optimizer: Any = None
        self._samples: dict[Hashable, Any] = {}  # what the optimizer drew, by the configuration that was made of it
        self._placed: set[Hashable] = set()
        self._results: list[tuple[Any, float]] = []

    def ask(self, n: int) -> Sequence[Configuration]:
        if not self._layout.size:
            return []
        while len(self._results) >= self._population:
            self._learn()
        encoding, optimizer = self._setting.encoding, self._started()
        self._samples = {key: sample for key, sample in self._samples.items() if key in self._placed}
        asked: list[Configuration] = []
        for _ in range(_REDRAWN):
            samples = [optimizer.ask() for _ in range(n - len(asked))]
            rows = encoding.filled(self._layout.rows(samples), self._setting.random)
            legal = encoding.allowed(rows)
            made = encoding.decode(rows[legal])
            for configuration, index in zip(made, np.flatnonzero(legal).tolist(), strict=True):
                self._samples.setdefault(encoding.key(configuration), samples[index])
            asked += made
            if len(asked) >= n:
                break
        return asked

    def pending(self, configurations: Sequence[Configuration]) -> None:
        self._placed.update(self._setting.encoding.key(configuration) for configuration in configurations)

    def tell(self, results: Sequence[Outcome]) -> None:
        if not self._layout.size:
            return
        rows, objectives = encoded(self._setting, results)
        for (configuration, _), row, objective in zip(results, rows, objectives, strict=True):
            key = self._setting.encoding.key(configuration)
            self._placed.discard(key)
            sample = self._samples.pop(key, None)
            self._results.append((self._layout.sample(row) if sample is None else sample, float(objective)))

    def _learn(self) -> None:
        """Takes the oldest results that it has not learned from, by their order alone."""
        results = self._results[: self._population]
        self._results = self._results[self._population :]
        if all(math.isnan(objective) for _, objective in results):
            return
        results.sort(key=lambda result: math.inf if math.isnan(result[1]) else -result[1])
        optimizer = self._started()
        try:
            with np.errstate(divide="raise", invalid="raise", over="raise"):
                optimizer.tell([(sample, float(rank)) for rank, (sample, _) in enumerate(results)])
                ended = self._layout.has_gaussian and optimizer.should_stop()
        except (FloatingPointError, AssertionError, np.linalg.LinAlgError):  # it has lost its numerical footing
            ended = True
        if ended:
            self._population *= 2
            self._optimizer = None

    def _started(self) -> Any:
        if self._optimizer is None:
            seed = int(self._setting.random.integers(2**32))
            self._optimizer = self._layout.optimizer(self._population, self._sigma, seed)
        return self._optimizer


class Layout:
    """Which columns are continuous, stepped or choices, and rows as the library's samples and back."""

    def __init__(self, setting: Setting) -> None:
        self._columns = setting.encoding.columns
        self._floats, self._steps, self._choices = [], [], []
        for index, column in enumerate(self._columns):
            if column.size == 1:
                continue
            if column.size > _MOST_STEPS and column.ordered:
                self._floats.append(index)
            elif column.ordered and column.size > 2:
                self._steps.append(index)
            else:
                self._choices.append(index)
        self._numbers = {index: self._columns[index].all_numbers() for index in (*self._steps, *self._choices)}
        self.size = len(self._floats) + len(self._steps) + len(self._choices)
        self.has_gaussian = bool(self._floats or self._steps)

    def optimizer(self, population: int, sigma: float, seed: int) -> Any:
        from cmaes import CatCMAwM

        ranges = [self._columns[index].reach for index in (*self._floats, *self._steps)]
        widths = np.array([upper - lower for lower, upper in ranges])
        return CatCMAwM(
            x_space=[list(self._columns[index].reach) for index in self._floats] or None,
            z_space=[self._numbers[index].tolist() for index in self._steps] or None,
            c_space=[len(self._numbers[index]) for index in self._choices] or None,
            population_size=population,
            sigma=1.0,
            cov=np.diag((sigma * widths) ** 2) if ranges else None,
            seed=seed,
        )

    def rows(self, samples: Sequence[Any]) -> Array:
        """Rows of samples."""
        rows = np.array([[column.all_numbers()[0] if column.size == 1 else 0.0 for column in self._columns]])
        rows = np.repeat(rows, len(samples), axis=0)
        for row, sample in zip(rows, samples, strict=True):
            if self._floats:
                row[self._floats] = sample.x
            if self._steps:
                row[self._steps] = sample.z
            for index, chosen in zip(self._choices, sample.c if self._choices else (), strict=True):
                row[index] = self._numbers[index][int(np.argmax(chosen))]
        for index in self._floats:
            rows[:, index] = self._columns[index].settle(rows[:, index])
        return rows

    def sample(self, row: Array) -> Any:
        """A sample for a row that is none of the optimizer's: a starting point, or of an earlier allocation."""
        from cmaes import CatCMAwM

        known = row.copy()
        for index, column in enumerate(self._columns):
            if np.isnan(known[index]):  # inactive
                known[index] = column.settle(np.array([sum(column.reach) / 2]))[0]
        widest = max((len(self._numbers[index]) for index in self._choices), default=0)
        chosen = np.zeros((len(self._choices), widest), dtype=np.bool_)
        for line, index in enumerate(self._choices):
            chosen[line, int(np.argmin(np.abs(self._numbers[index] - known[index])))] = True
        x, z = known[self._floats], known[self._steps]
        return CatCMAwM.Solution(
            x if len(x) else None, z if len(z) else None, chosen if len(chosen) else None,
            np.concatenate([x, z]) if self.has_gaussian else None,
        )  # fmt: skip
