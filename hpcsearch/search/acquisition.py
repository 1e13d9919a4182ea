"""From results to proposals: what is learned of the objective and of failures, and which candidates are worth a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hpcsearch.search.candidates import candidates
from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask
from hpcsearch.search.history import Data
from hpcsearch.search.surrogate import Fit, Surrogate

Indices = NDArray[np.intp]

#: A fit on a share of the data takes this share of it from the best, the rest at random.
_BEST_SHARE = 0.6

#: However often something failed nearby, it keeps this much of its worth: failures may have passing causes.
_LEAST_FEASIBLE = 0.02


@dataclass(frozen=True)
class Learned:
    """What is known after a fit.

    Attributes:
        objective: the model of the objective where evaluations succeed, or None while none has.
        feasible: the model of success (1) and failure (0), or None while nothing has failed.
        floor: the least objective on the model's scale: what a failure is worth.
        best: the rows that succeeded, the best first.
        told: how many results this rests on.
    """

    objective: Surrogate | None
    feasible: Surrogate | None
    floor: float
    best: Array
    told: int


def learn(encoding: Encoding, data: Data, fit: Fit, max_points: int, rng: np.random.Generator) -> Learned:
    """Fits the models to at most ``max_points`` results each."""
    succeeded = np.flatnonzero(~data.failed)
    order = succeeded[np.argsort(-data.objectives[succeeded], kind="stable")]
    chosen = _share(order, max_points, rng)
    objective, floor = None, 0.0
    if len(chosen):
        warped = half_rank(data.objectives[chosen])
        objective, floor = fit(encoding.features(data.rows[chosen]), warped, rng), float(warped.min())
    feasible = None
    if data.failed.any():
        both = _share(rng.permutation(len(data.rows)), max_points, rng)
        success = np.where(data.failed[both], 0.0, 1.0)
        feasible = fit(encoding.features(data.rows[both]), success, rng)
    return Learned(objective, feasible, floor, data.rows[order[:64]], len(data.rows))


def propose(
    learned: Learned,
    encoding: Encoding,
    pending: Array,
    unknown: Callable[[Array], Mask],
    n: int,
    size: int,
    kappa: float,
    rng: np.random.Generator,
) -> Array:
    """Up to ``n`` rows out of about ``size`` candidates, each the best by an upper confidence bound of its own.

    The weight of the spread is drawn anew for each, exponentially distributed with mean ``kappa``: some proposals
    exploit, some explore. What is chosen counts as pending for the next. Fewer than ``n`` when too few candidates are
    ``unknown``.
    """
    rows = candidates(encoding, learned.best, max(size, 8 * n), rng)
    rows = rows[unknown(rows)]
    if not len(rows):
        return rows
    features = encoding.features(rows)
    under_way = encoding.features(pending)
    success = _success(learned, features)
    prediction = learned.objective.predict(features, under_way) if learned.objective is not None else None
    free = np.ones(len(rows), dtype=np.bool_)
    order = []
    for weight in rng.exponential(kappa, min(n, len(rows))):
        worth = success
        if prediction is not None:
            worth = np.maximum(prediction.mean + weight * prediction.spread - learned.floor, 0.0) * success
        chosen = int(np.argmax(np.where(free, worth, -1.0)))
        order.append(chosen)
        free[chosen] = False
        if prediction is not None:
            prediction.place(chosen)
    return rows[order]


def half_rank(objectives: Array) -> Array:
    """Zero mean, unit variance; what is below the median is replaced by its rank, on the scale of the better half.

    So that a model spends nothing on how bad the bad ones are, and outliers do not flatten the rest.
    """
    centred = objectives / 2 - np.median(objectives) / 2  # halves, because a difference of the largest floats overflows
    better, worse = centred > 0.0, centred < 0.0
    warped = np.zeros(len(objectives))
    if not better.any():
        return warped
    warped[better] = centred[better] / centred.max()
    scale = float(np.sqrt(np.mean(warped[better] ** 2)))
    _, rank, counts = np.unique(objectives, return_inverse=True, return_counts=True)
    level = (np.cumsum(counts) - counts / 2) / len(objectives)
    normal = NormalDist()
    warped[worse] = [scale * min(normal.inv_cdf(share), 0.0) for share in level[rank[worse]].tolist()]
    return np.asarray((warped - warped.mean()) / warped.std())


def _success(learned: Learned, features: Array) -> Array:
    """The chance that an evaluation succeeds, for each candidate."""
    if learned.feasible is None:
        return np.ones(len(features))
    chance = learned.feasible.predict(features, np.empty((0, features.shape[1]))).mean
    return np.clip(chance, _LEAST_FEASIBLE, 1.0)


def _share(order: Indices, limit: int, rng: np.random.Generator) -> Indices:
    """At most ``limit`` of ``order``: its first part, and of what follows a random choice."""
    if len(order) <= limit:
        return order
    first = int(_BEST_SHARE * limit)
    return np.concatenate([order[:first], rng.choice(order[first:], limit - first, replace=False)])
