"""One hyperparameter as a column of numbers: drawn, moved, and turned into values and back, a whole column at a time.

The numbers are those of ConfigSpace's vectors (numeric hyperparameters on [0, 1] by their scale, choices by index), so
that its conditions and forbidden clauses can be asked about them. NaN stands for inactive, infinity for a value that is
not legal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, cast

import numpy as np
from ConfigSpace.hyperparameters import (
    CategoricalHyperparameter,
    Constant,
    Hyperparameter,
    NumericalHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Draws that stand for the distribution of a hyperparameter that is not uniform.
_QUANTILES = 4096

#: What an inactive hyperparameter is taken to be on its range: as near to all values as can be.
_MIDDLE = 0.5


class Column(Protocol):
    """What the encoding asks of a hyperparameter. All arrays have one dimension unless stated."""

    name: str
    size: float  # number of different values, math.inf for a float
    ordered: bool  # whether there is a between: numeric, ordinal, or of two values
    reach: tuple[float, float]  # the least and the greatest number

    def from_unit(self, unit: Array) -> Array:
        """Legal numbers for uniform draws on [0, 1), by the hyperparameter's own distribution."""

    def settle(self, numbers: Array) -> Array:
        """The nearest legal numbers."""

    def move(self, numbers: Array, sigma: Array, rng: np.random.Generator) -> Array:
        """Legal numbers near these, ``sigma`` being the step as a share of the range; a choice changes to another."""

    def values(self, numbers: Array) -> list[Any]:
        """Plain Python values."""

    def numbers(self, values: Sequence[Any]) -> Array:
        """The reverse of :meth:`values`; infinity for a value that is not legal."""

    def features(self, numbers: Array) -> Array:
        """What a model sees, shape (n, features), each within [0, 1]: different choices have a distance of 1."""

    def all_numbers(self) -> Array:
        """Every legal number of a finite hyperparameter."""


def make_column(hyperparameter: Hyperparameter[Any, Any]) -> Column:
    """The column of a ConfigSpace hyperparameter."""
    if isinstance(hyperparameter, Constant):
        return ChoiceColumn(hyperparameter.name, [hyperparameter.value], offset=float(hyperparameter.lower_vectorized))
    if isinstance(hyperparameter, OrdinalHyperparameter):
        return ChoiceColumn(hyperparameter.name, hyperparameter.sequence, ordered=True)
    if isinstance(hyperparameter, CategoricalHyperparameter):
        return ChoiceColumn(hyperparameter.name, hyperparameter.choices, weights=hyperparameter.probabilities)
    if isinstance(hyperparameter, NumericalHyperparameter):
        return NumericColumn(hyperparameter)
    raise TypeError(f"hyperparameter {hyperparameter.name!r} is of an unknown kind, {type(hyperparameter).__name__}")


def freeze(value: Any) -> Hashable:
    """A hashable stand-in that is the same for a tuple and for the list that JSON makes of it."""
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        return tuple(sorted((str(key), freeze(item)) for key, item in value.items()))
    return cast(Hashable, value)


class NumericColumn:
    """A float or an integer, linear or logarithmic, uniform or not."""

    def __init__(self, hyperparameter: NumericalHyperparameter[Any, Any]) -> None:
        self.name = hyperparameter.name
        self.size = float(hyperparameter.size)
        self.ordered = True
        self.reach = (0.0, 1.0)
        self._hyperparameter = hyperparameter
        self._from_unit = _unit_map(hyperparameter)

    def from_unit(self, unit: Array) -> Array:
        return self._from_unit(unit)

    def settle(self, numbers: Array) -> Array:
        clipped = np.clip(numbers, 0.0, 1.0)
        if math.isinf(self.size):
            return clipped
        return self._to_numbers(self._hyperparameter.to_value(clipped))

    def move(self, numbers: Array, sigma: Array, rng: np.random.Generator) -> Array:
        moved = numbers + sigma * rng.standard_normal(len(numbers))
        moved = np.where(moved < 0.0, -moved, moved)
        moved = np.where(moved > 1.0, 2.0 - moved, moved)
        settled = self.settle(moved)
        if math.isinf(self.size) or self.size < 2:
            return settled
        return self._step_where(settled == numbers, settled, rng)

    def _step_where(self, same: NDArray[np.bool_], numbers: Array, rng: np.random.Generator) -> Array:
        """One integer up or down for those that rounding would leave where they were."""
        if not same.any():
            return numbers
        lower, upper = self._hyperparameter.lower, self._hyperparameter.upper
        values = self._hyperparameter.to_value(numbers[same]) + rng.choice((-1, 1), same.sum())
        values = np.where(values < lower, lower + 1, np.where(values > upper, upper - 1, values))
        stepped = numbers.copy()
        stepped[same] = self._to_numbers(values)
        return stepped

    def values(self, numbers: Array) -> list[Any]:
        return cast(list[Any], self._hyperparameter.to_value(numbers).tolist())

    def numbers(self, values: Sequence[Any]) -> Array:
        try:
            raw = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raw = np.array([value if isinstance(value, (int, float)) else math.inf for value in values], np.float64)
        legal = (raw >= self._hyperparameter.lower) & (raw <= self._hyperparameter.upper)
        if math.isfinite(self.size):
            legal &= raw == np.rint(raw)
        numbers = np.full(len(raw), np.inf)
        numbers[legal] = np.clip(self._to_numbers(raw[legal]), 0.0, 1.0)
        return numbers

    def features(self, numbers: Array) -> Array:
        return np.asarray(np.where(np.isnan(numbers), _MIDDLE, numbers)[:, None], np.float64)

    def all_numbers(self) -> Array:
        return self._to_numbers(np.arange(self._hyperparameter.lower, self._hyperparameter.upper + 1))

    def _to_numbers(self, values: NDArray[Any]) -> Array:
        return np.asarray(self._hyperparameter.to_vector(values), dtype=np.float64)


class ChoiceColumn:
    """One of several values: categorical, ordinal, or a constant. A number is the index plus ``offset``."""

    def __init__(
        self,
        name: str,
        choices: Sequence[Any],
        weights: Array | None = None,
        ordered: bool = False,
        offset: float = 0.0,
    ) -> None:
        self.name = name
        self.size = float(len(choices))
        self.ordered = ordered or self.size <= 2
        self.reach = (offset, offset + self.size - 1)
        self._choices = [choice.item() if isinstance(choice, np.generic) else choice for choice in choices]
        self._index = {freeze(choice): index + offset for index, choice in enumerate(self._choices)}
        shares = np.full(len(choices), 1.0 / len(choices)) if weights is None else np.asarray(weights, np.float64)
        self._edges = np.cumsum(shares)[:-1]
        self._offset = offset

    def from_unit(self, unit: Array) -> Array:
        return np.asarray(np.searchsorted(self._edges, unit, side="right") + self._offset, np.float64)

    def settle(self, numbers: Array) -> Array:
        return np.clip(np.rint(numbers), self._offset, self._offset + self.size - 1)

    def move(self, numbers: Array, sigma: Array, rng: np.random.Generator) -> Array:
        last = int(self.size) - 1
        if last == 0:
            return numbers.copy()
        index = numbers - self._offset
        if not self.ordered:
            return (index + rng.integers(1, last + 1, len(index))) % self.size + self._offset
        steps = np.rint(sigma * last * rng.standard_normal(len(index)))
        steps = np.where(steps == 0, rng.choice((-1, 1), len(index)), steps)
        moved = np.clip(index + steps, 0, last)
        back = np.where(index == 0, 1, index - 1)
        return np.asarray(np.where(moved == index, back, moved) + self._offset, np.float64)

    def values(self, numbers: Array) -> list[Any]:
        choices = self._choices
        return [choices[index] for index in (numbers - self._offset).astype(np.intp).tolist()]

    def numbers(self, values: Sequence[Any]) -> Array:
        return np.array([self._index.get(freeze(value), math.inf) for value in values], np.float64)

    def features(self, numbers: Array) -> Array:
        inactive = np.isnan(numbers)[:, None]
        index = (numbers - self._offset)[:, None]
        if self.ordered:
            scaled = index / max(1.0, self.size - 1)
            return np.asarray(np.where(inactive, _MIDDLE, scaled)[:, : int(self.size > 1)], np.float64)
        same = np.where(inactive, 1.0 / self.size, index == np.arange(int(self.size)))
        return np.asarray(same * math.sqrt(0.5), np.float64)

    def all_numbers(self) -> Array:
        return np.arange(self.size) + self._offset


def _unit_map(hyperparameter: NumericalHyperparameter[Any, Any]) -> Callable[[Array], Array]:
    """The map from uniform draws to numbers that are distributed as the hyperparameter says."""
    if isinstance(hyperparameter, UniformFloatHyperparameter):
        return lambda unit: unit
    if isinstance(hyperparameter, UniformIntegerHyperparameter):
        return _integer_map(hyperparameter)
    sample = np.sort(hyperparameter.sample_vector(_QUANTILES, seed=np.random.RandomState(0)))
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    if math.isfinite(float(hyperparameter.size)):
        return lambda unit: sample[(unit * _QUANTILES).astype(np.intp)]
    return lambda unit: np.interp(unit, levels, sample)


def _integer_map(hyperparameter: UniformIntegerHyperparameter) -> Callable[[Array], Array]:
    """Each integer k gets the share of [k, k + 1) of the range, so that both ends are as likely as their neighbours."""
    lower, upper = hyperparameter.lower, hyperparameter.upper
    log_lower, log_span = (math.log(lower), math.log((upper + 1) / lower)) if hyperparameter.log else (0.0, 0.0)

    def from_unit(unit: Array) -> Array:
        spread = np.exp(log_lower + unit * log_span) if hyperparameter.log else lower + unit * (upper - lower + 1)
        integers = np.clip(np.floor(spread), lower, upper)
        return np.asarray(hyperparameter.to_vector(integers), dtype=np.float64)

    return from_unit
