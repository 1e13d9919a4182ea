"""The problem that is made of a script's hyperparameters."""

from __future__ import annotations

import math
import random
from pathlib import Path

from hpcsearch.problem import HpProblem
from hpcsearch.script.script import Dimension, Script

#: Where a logarithmic range begins at least (ConfigSpace rounds bounds to 13 decimals), and how far beyond it one goes.
_SMALLEST = 1e-12
_LARGEST_LOG = 20.0


class ScriptProblem(HpProblem):
    """A problem that knows the hyperparameters as they were typed."""

    def __init__(self, minimize: bool, dimensions: tuple[Dimension, ...]) -> None:
        super().__init__(minimize)
        self.dimensions = dimensions
        for dimension in dimensions:
            for part in dimension.parts:
                self.add_hyperparameter(_space(dimension), part)
        if any(dimension.middle is not None for dimension in dimensions):
            self.add_starting_point(**_beginning(dimensions))


def problem_of(folder: str | Path) -> ScriptProblem:
    """The problem of the script that is described in ``folder``."""
    script = Script.load(folder)
    return ScriptProblem(script.minimize, script.dimensions)


def _space(dimension: Dimension) -> object:
    if dimension.values:
        return list(dimension.values) if len(dimension.values) > 1 else dimension.values[0]
    low, high = _reach(dimension) if dimension.beyond else (dimension.low, dimension.high)
    if low == high:
        return low
    return (low, high, "log-uniform" if dimension.log else "uniform")


def _reach(dimension: Dimension) -> tuple[float, float]:
    """The range and some of its widths more on either side; a range without width has one of 1, on its own scale."""
    low, high, widths = dimension.low, dimension.high, dimension.beyond
    if not dimension.log:
        width = (high - low) or 1.0
        return low - widths * width, high + widths * width
    ratio = math.exp(min(widths * (math.log(high / low) or 1.0), _LARGEST_LOG))
    return max(low / ratio, _SMALLEST), high * ratio


def _beginning(dimensions: tuple[Dimension, ...]) -> dict[str, object]:
    """The middle of each range; where one is to begin anywhere, anywhere: the same in every process."""
    anywhere = random.Random(0)
    point: dict[str, object] = {}
    for dimension in dimensions:
        for part in dimension.parts:
            if dimension.values:
                point[part] = dimension.values[0]
            elif dimension.low < dimension.high or dimension.beyond:
                low, high = dimension.low, dimension.high
                drawn = low * (high / low) ** anywhere.random() if dimension.log else anywhere.uniform(low, high)
                point[part] = drawn if dimension.middle is None else dimension.middle
    return point
