"""Hyperparameters as axes: linear or logarithmic numbers, or categories in an order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcsearch.figures.scale import logarithmic
from hpcsearch.figures.study import Indices, Numbers, Study

#: What stands where a condition left the hyperparameter out.
INACTIVE = "inactive"


@dataclass(frozen=True)
class Axis:
    """One hyperparameter. ``positions`` are numbers for all evaluations: values, or places among ``categories``.

    NaN is where it was inactive; categories have a place of their own for that.
    """

    name: str
    positions: Numbers
    categories: tuple[str, ...] = ()
    log: bool = False


def axis(study: Study, name: str) -> Axis:
    """The axis of one hyperparameter."""
    values = study.table.configurations[name]
    if all(value is None or type(value) in (int, float) for value in values):
        numbers = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
        positive = not bool(np.any(numbers <= 0))
        return Axis(name, numbers, log=positive and logarithmic(numbers[~np.isnan(numbers)].tolist()))
    categories = _ordered(values)
    places = {category: place for place, category in enumerate(categories)}
    return Axis(name, np.array([places[shown(value)] for value in values], dtype=np.float64), categories)


def axes(study: Study) -> list[Axis]:
    """One for each hyperparameter that varies, by name."""
    return [axis(study, name) for name in study.varied]


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return INACTIVE
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ordered(values: Sequence[Any]) -> tuple[str, ...]:
    """The categories by name, numbers among them by size, and last what is inactive."""

    def key(value: Any) -> tuple[bool, bool, float, str]:
        number = isinstance(value, int | float)
        return value is None, not number, float(value) if number else 0.0, str(value)

    found = {shown(value): value for value in values}
    return tuple(sorted(found, key=lambda category: key(found[category])))


def ticks_of_log(positions: Numbers) -> list[float]:
    """Powers of ten among the positions; none where all are inactive."""
    known = positions[~np.isnan(positions)]
    if not len(known):
        return []
    low, high = known.min(), known.max()
    return [float(10.0**power) for power in range(math.floor(np.log10(low)), math.floor(np.log10(high)) + 1)]


def text_of(study: Study, index: int) -> str:
    """One evaluation's configuration in a few words."""
    return ", ".join(f"{name}={shown(value)}" for name, value in study.configuration(index).items())


def drawn(study: Study, points: int, best: int) -> Indices:
    """The evaluations that are shown hyperparameter by hyperparameter: the best ones, and a draw of the rest."""
    from hpcsearch.figures.thinning import thinned

    return thinned(study.valued, points, study.ranked[:best])
