"""What strategies are told of what evaluations came to: greater is better, and of several objectives what they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpcsearch import objectives
from hpcsearch.objectives import split

#: What a search is told of an evaluation; several objectives may also come in a fixed order, without names.
Told = objectives.Told | Mapping[str, float | None] | Sequence[float | None]


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

    def _of_several(self, told: Mapping[str, float | None]) -> float | tuple[float, ...] | None:
        known = {name: float(value) for name, value in told.items() if value is not None and math.isfinite(value)}
        if not known or len(known) < len(told):
            return None
        if not self._signs and len(known) > 1:
            self._signs = {name: split(name)[1] or self._sign for name in known}
        if self._several and self._signs and self._signs.keys() <= known.keys():
            return tuple(sign * known[name] for name, sign in self._signs.items())
        first = next(iter(self._signs or known))
        name = first if first in known else next(iter(known))
        return (split(name)[1] or self._sign) * known[name]
