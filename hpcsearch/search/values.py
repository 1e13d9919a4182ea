"""What strategies are told of what evaluations came to: greater is better, and of several objectives what they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpcsearch import objectives
from hpcsearch.objectives import split

#: What a search is told of an evaluation; several objectives may also come in a fixed order, without names.
Told = objectives.Told | Sequence[float]


class Values:
    """Turns what a search is told into what its strategy learns.

    The first that has several objectives decides on their names and order.

    Args:
        minimize: the problem's sense, which is that of each objective whose name carries no other one.
        several: whether the strategy takes several objectives, or the first alone.
    """

    def __init__(self, minimize: bool, several: bool) -> None:
        self._sign = -1.0 if minimize else 1.0
        self._several = several
        self._signs: dict[str, float] = {}  # of several objectives, the first one first

    def of(self, told: Told) -> float | tuple[float, ...] | None:
        """Finite values, or None: it failed, or one of its objectives is not finite."""
        if told is None:
            return None
        if isinstance(told, Mapping):
            return self._of_several(told)
        if isinstance(told, Sequence) or (isinstance(told, np.ndarray) and told.ndim):
            return self._of_several({str(number): value for number, value in enumerate(told)})
        return self._sign * told if math.isfinite(told) else None

    def _of_several(self, told: Mapping[str, float]) -> float | tuple[float, ...] | None:
        if not told or not all(value is not None and math.isfinite(value) for value in told.values()):
            return None
        if not self._signs and len(told) > 1:
            self._signs = {name: split(name)[1] or self._sign for name in told}
        if self._several and self._signs and self._signs.keys() <= told.keys():
            return tuple(sign * float(told[name]) for name, sign in self._signs.items())
        first = next(iter(self._signs or told))
        name = first if first in told else next(iter(told))
        return (split(name)[1] or self._sign) * float(told[name])
