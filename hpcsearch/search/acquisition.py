"""From models to proposals: which candidates are worth a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr

from hpcsearch.search.candidates import candidates, near
from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask
from hpcsearch.search.gp import Prediction
from hpcsearch.search.model import Learned

#: So many are chosen among the same candidates.
_AT_ONCE = 64

#: Pending points that are looked at, the newest.
_PENDING = 400

#: The share of the candidates that lie near the most promising ones of the others, near how many, and how near.
_REFINED = 0.25
_PROMISING = 8
_NARROWED = 0.3

#: How often expected improvement is the rule, and not an upper confidence bound.
_IMPROVING = 0.5

#: An improvement counts from so much on, as a power of ten of the objective's standard deviation, drawn anew each time:
#: a search that goes on improving the last digits of a local optimum looks elsewhere, too.
_LEAST_GAIN = (-5.0, 0.0)

#: How often a proposal has to differ from the best known one in a hyperparameter drawn at random: searches that are
#: caught near a local optimum get out by this; and by how much on a range.
_AWAY = 0.15
_AWAY_BY = 0.15

#: What a success is worth in standard deviations of the model of successes: how sharp the border of failures is.
_SHARPNESS = 0.03


@dataclass(frozen=True)
class Choice:
    """Among what, and by which rules.

    Attributes:
        size: how many candidates are made.
        kappa: mean weight of the uncertainty in upper confidence bounds.
        whole: all rows of a space so small that each of them is a candidate; None for others.
    """

    size: int
    kappa: float
    whole: Array | None = None


def propose(
    learned: Learned,
    encoding: Encoding,
    pending: Array,
    unknown: Callable[[Array], Mask],
    n: int,
    choice: Choice,
    rng: np.random.Generator,
) -> Array:
    """Up to ``n`` rows, each the best of the candidates by a rule of its own.

    The rule is drawn anew for each: expected improvement, or an upper confidence bound whose weight is exponentially
    distributed with mean ``kappa``. So some exploit, some explore, and many workers spread. What is chosen counts as
    pending for the next. Fewer than ``n`` when too few candidates are ``unknown``.
    """
    found = [pending[:0]]
    while n > 0:
        rows = choice.whole
        if rows is None:
            rows = _candidates(learned, encoding, pending[-_PENDING:], choice.size, rng)
        rows = rows[unknown(rows)]
        if not len(rows):
            break
        most = min(n, _AT_ONCE, len(rows))
        chosen = rows[_choose(learned, encoding, rows, pending[-_PENDING:], most, choice.kappa, rng)]
        found.append(chosen)
        pending = np.concatenate([pending, chosen])
        n -= len(chosen)
    return np.concatenate(found)


def _candidates(learned: Learned, encoding: Encoding, pending: Array, size: int, rng: np.random.Generator) -> Array:
    """Rows from everywhere and near the best known ones, and more of them near the most promising of these."""
    steps = _steps(learned, encoding)
    scouts = candidates(encoding, learned.best, steps, size - int(_REFINED * size), rng)
    if learned.objective is None or not len(scouts) or not encoding.columns:
        return scouts
    features = encoding.features(scouts)
    prediction = learned.objective.predict(features, encoding.features(pending))
    best = float(learned.objective.smoothed.max())
    worth = _log_success(learned, features) + log_expected_improvement(prediction.mean, prediction.spread, best)
    centres = scouts[np.argsort(-worth, kind="stable")[:_PROMISING]]
    return np.concatenate([scouts, near(encoding, centres, _NARROWED * steps, int(_REFINED * size), rng)])


def _choose(
    learned: Learned, encoding: Encoding, rows: Array, pending: Array, n: int, kappa: float, rng: np.random.Generator
) -> list[int]:
    features, under_way = encoding.features(rows), encoding.features(pending)
    success = _log_success(learned, features)
    objective = learned.objective
    prediction = objective.predict(features, under_way, n) if objective is not None else None
    best = float(objective.smoothed.max()) if objective is not None else 0.0
    free = np.ones(len(rows), dtype=np.bool_)
    order: list[int] = []
    for _ in range(n):
        worth = success
        if prediction is not None:
            worth = success + _log_worth(prediction, best, learned.floor, kappa, rng)
        allowed = free & _away(encoding, rows, learned.best, rng) if rng.random() < _AWAY else free
        chosen = int(np.argmax(np.where(allowed if allowed.any() else free, worth, -np.inf)))
        if not free[chosen]:
            break
        order.append(chosen)
        free[chosen] = False
        if prediction is not None:
            prediction.place(chosen)
    return order


def _log_worth(prediction: Prediction, best: float, floor: float, kappa: float, rng: np.random.Generator) -> Array:
    if rng.random() < _IMPROVING:
        gain = 10.0 ** rng.uniform(*_LEAST_GAIN)
        return log_expected_improvement(prediction.mean, prediction.spread, best + gain)
    bound = prediction.mean + rng.exponential(kappa) * prediction.spread
    return np.asarray(np.log(np.maximum(bound - floor, 1e-12)))


def log_expected_improvement(mean: Array, spread: Array, best: float) -> Array:
    """The logarithm of the expected improvement over ``best``, also where it is too small for a float."""
    z = (mean - best) / spread
    log_density = -0.5 * z * z - 0.5 * math.log(2.0 * math.pi)
    below, above = np.minimum(z, 0.0), np.maximum(z, 0.0)
    # Below: density times (1 + z * Mills ratio), of which rounding must not make a negative number.
    rest = 1.0 + below * math.sqrt(math.pi / 2.0) * erfcx(-below / math.sqrt(2.0))
    far = np.log(np.maximum(rest, 1e-14)) + log_density
    near = np.log(np.exp(-0.5 * above * above) / math.sqrt(2.0 * math.pi) + above * np.exp(log_ndtr(above)))
    return np.asarray(np.log(spread) + np.where(z < 0.0, far, near))


def _log_success(learned: Learned, features: Array) -> Array:
    """The logarithm of the chance that an evaluation succeeds, for each candidate."""
    if learned.success is None:
        return np.zeros(len(features))
    prediction = learned.success.predict(features, features[:0])
    return np.asarray(log_ndtr(prediction.mean / np.sqrt(prediction.spread**2 + _SHARPNESS**2)))


def _away(encoding: Encoding, rows: Array, best: Array, rng: np.random.Generator) -> Mask:
    """Which rows are far from the best one in a hyperparameter drawn at random."""
    if not len(best):
        return np.ones(len(rows), dtype=np.bool_)
    which = [i for i, column in enumerate(encoding.columns) if column.size > 1 and not np.isnan(best[0, i])]
    if not which:
        return np.ones(len(rows), dtype=np.bool_)
    index = int(rng.choice(which))
    column = encoding.columns[index]
    gap = np.abs(column.features(rows[:, index]) - column.features(best[:1, index])).max(axis=1)
    return np.asarray(gap >= _AWAY_BY)


def _steps(learned: Learned, encoding: Encoding) -> Array:
    """How far local candidates go in each column, as a multiple: less where the objective changes faster."""
    steps = np.ones(len(encoding.columns))
    if learned.objective is not None:
        lengths = learned.objective.shape.lengths
        for index, of in enumerate(encoding.column_groups):
            if of >= 0:
                steps[index] = min(max(float(lengths[of]), 0.1), 1.0)
    return steps
