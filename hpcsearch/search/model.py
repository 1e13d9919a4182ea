"""From results to models: of the objective where evaluations succeed, and of where they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.gp import Process, expected_shapes, fit, fit_points
from hpcsearch.search.history import Data
from hpcsearch.search.inert import Inert, find_inert
from hpcsearch.search.kernel import Shape
from hpcsearch.search.warp import half_rank, winsorised

Indices = NDArray[np.intp]

#: A share of the results takes this share of it from the best, the rest at random.
_BEST_SHARE = 0.6

#: So many of the best rows are kept at hand.
_BEST = 64

#: Shapes are fitted to at most so many points, again once results have grown by this share, and every so often not
#: only from the last ones on.
_FIT_POINTS = 200
_GROWTH = 0.08
_COLD_EVERY = 5

#: Objectives are seen by one of these, drawn anew each time: which one suits is not known beforehand.
_WARPS: tuple[Callable[[Array], Array], ...] = (winsorised, winsorised, winsorised, half_rank)


@dataclass(frozen=True)
class Learned:
    """What is known after some results.

    Attributes:
        objective: the model of the objective where evaluations succeed, or None while none has.
        success: the model of success (1) and failure (-1), or None while nothing has failed.
        floor: the least objective on the model's scale: what a failure is worth.
        best: rows that succeeded, the best first.
        worth: the expected objective of each of these, on the model's scale.
        told: how many results this rests on.
        inert: which hyperparameters are seen to change nothing, and where.
    """

    objective: Process | None
    success: Process | None
    floor: float
    best: Array
    worth: Array
    told: int
    inert: Inert

    def features(self, encoding: Encoding, rows: Array) -> Array:
        """What the models see of rows."""
        return encoding.features(self.inert.collapsed(rows))


@dataclass(frozen=True)
class _Fitted:
    shape: Shape
    points: int
    fits: int


class Learner:
    """Makes models of results, and remembers the shapes that it has fitted. Not for several threads at once."""

    def __init__(self, encoding: Encoding, max_points: int) -> None:
        self._encoding = encoding
        self._max_points = max_points
        self._groups = encoding.feature_groups
        self._dimensions = int(self._groups.max(initial=-1)) + 1
        self._fitted: dict[str, _Fitted] = {}

    def learn(self, data: Data, rng: np.random.Generator) -> Learned:
        """Models of the results, by at most ``max_points`` of them: the best ones, and others drawn anew each time."""
        succeeded = np.flatnonzero(~data.failed)
        order = succeeded[np.argsort(-data.objectives[succeeded], kind="stable")]
        chosen = _share(order, self._max_points, rng)
        inert = find_inert(self._encoding.columns, data.rows[succeeded], data.objectives[succeeded])
        objective, floor, best, worth = None, 0.0, data.rows[:0], np.empty(0)
        if len(chosen):
            warp = _WARPS[rng.integers(len(_WARPS))]
            targets = warp(data.objectives[chosen])
            objective = self._process(warp.__name__, True, inert.collapsed(data.rows[chosen]), targets, len(order), rng)
            floor = float(targets.min())
            first = np.argsort(-objective.smoothed, kind="stable")[:_BEST]
            best, worth = data.rows[chosen[first]], objective.smoothed[first]
        success = None
        if data.failed.any():
            both = _share(rng.permutation(len(data.rows)), self._max_points, rng)
            labels = np.where(data.failed[both], -1.0, 1.0)
            # Where evaluations fail is decided by hyperparameters together, not by each.
            success = self._process("success", False, inert.collapsed(data.rows[both]), labels, len(data.rows), rng)
        return Learned(objective, success, floor, best, worth, data.told, inert)

    def _process(
        self, name: str, sums: bool, rows: Array, targets: Array, points: int, rng: np.random.Generator
    ) -> Process:
        features = self._encoding.features(rows)
        known = self._fitted.get(name)
        if known is None or points >= known.points + max(1, int(_GROWTH * known.points)):
            fits = 0 if known is None else known.fits + 1
            starts = expected_shapes(self._dimensions, sums) if fits % _COLD_EVERY == 0 else []
            starts += [known.shape] if known is not None else []
            chosen = _share(np.arange(len(rows)), fit_points(self._dimensions, _FIT_POINTS), rng)
            known = _Fitted(fit(features[chosen], self._groups, targets[chosen], starts), points, fits)
            self._fitted[name] = known
        return Process(features, self._groups, targets, known.shape.drawn_near(rng))


def _share(order: Indices, limit: int, rng: np.random.Generator) -> Indices:
    """At most ``limit`` of ``order``: its first part, and of what follows a random choice."""
    if len(order) <= limit:
        return order
    first = int(_BEST_SHARE * limit)
    return np.concatenate([order[:first], rng.choice(order[first:], limit - first, replace=False)])
