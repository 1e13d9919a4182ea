"""From models to proposals: which candidates are worth a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr

from hpcsearch.search.candidates import candidates, near
from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask
from hpcsearch.search.gp import Prediction
from hpcsearch.search.model import Learned
from hpcsearch.search.niche import Niche, draw_niche

#: So many are chosen among the same candidates.
_AT_ONCE = 64

#: Where more than so many are, only the more hopeful half of the candidates is compared.
_FEW = 16

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

#: How often a proposal has to be in a niche; one is drawn for so many proposals at once.
_AWAY = 0.15
_PER_NICHE = 16

#: Local candidates lie around this many of the best rows, and around those that niches have found.
CENTRES = 8

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
    distributed with mean ``kappa``; and how much the chance to fail is heeded. So some exploit, some explore, and many
    workers spread. What is chosen counts as pending for the next. Fewer than ``n`` when too few candidates are
    ``unknown``.
    """
    found = [pending[:0]]
    while n > 0:
        most = min(n, _AT_ONCE)
        niches = [niche for _ in range(0, most, _PER_NICHE) if (niche := draw_niche(encoding, learned, rng))]
        field = _field(learned, encoding, niches, pending[-_PENDING:], unknown, choice, most, rng)
        if most > _FEW:
            field = _hopeful(field, learned.floor, choice.kappa, 2 * most)
        chosen = field.rows[_choose(field, learned, encoding, niches, most, choice.kappa, rng)]
        if not len(chosen):
            break
        found.append(chosen)
        pending = np.concatenate([pending, chosen])
        n -= len(chosen)
    return np.concatenate(found)


@dataclass(frozen=True)
class _Field:
    """Candidates, the logarithm of each one's chance to succeed, and what is expected of them if they do."""

    rows: Array
    success: Array
    prediction: Prediction | None


def _field(
    learned: Learned,
    encoding: Encoding,
    niches: Sequence[Niche],
    pending: Array,
    unknown: Callable[[Array], Mask],
    choice: Choice,
    room: int,
    rng: np.random.Generator,
) -> _Field:
    """Rows from everywhere and near the best known ones, and more of them near the most promising of these."""
    steps = _steps(learned, encoding)
    more = int(_REFINED * choice.size)
    centres = np.concatenate([learned.best[:CENTRES], *(niche.found for niche in niches)])
    rows = candidates(encoding, centres, steps, choice.size - more, rng) if choice.whole is None else choice.whole
    rows = rows[unknown(rows)]
    features = learned.features(encoding, rows)
    success = _log_success(learned, features)
    if learned.objective is None:
        return _Field(rows, success, None)
    under_way = learned.objective.given(learned.features(encoding, pending))
    prediction = under_way.predict(features, room)
    if choice.whole is not None or not len(rows) or not encoding.columns:
        return _Field(rows, success, prediction)
    worth = success + log_expected_improvement(prediction.mean, prediction.spread, float(learned.worth[0]))
    centres = rows[np.argsort(-worth, kind="stable")[:_PROMISING]]
    close = near(encoding, centres, _NARROWED * steps, more, rng)
    close = close[unknown(np.concatenate([rows, close]))[len(rows) :]]
    features = learned.features(encoding, close)
    return _Field(
        np.concatenate([rows, close]),
        np.concatenate([success, _log_success(learned, features)]),
        prediction.joined(under_way.predict(features, room)),
    )


def _hopeful(field: _Field, floor: float, kappa: float, least: int) -> _Field:
    """The half with the greater upper confidence bounds, or ``least`` candidates: placing costs by their number.

    The chance to succeed counts as it does on average, see :func:`_choose`.
    """
    if field.prediction is None:
        return field
    bound = field.prediction.mean + 2.0 * kappa * field.prediction.spread
    worth = 0.5 * field.success + np.log(np.maximum(bound - floor, 1e-12))
    kept = np.argsort(-worth, kind="stable")[: max(len(worth) // 2, least)]
    return _Field(field.rows[kept], field.success[kept], field.prediction.some(kept))


def _choose(
    field: _Field,
    learned: Learned,
    encoding: Encoding,
    niches: Sequence[Niche],
    n: int,
    kappa: float,
    rng: np.random.Generator,
) -> list[int]:
    prediction = field.prediction
    free = np.ones(len(field.rows), dtype=np.bool_)
    order: list[int] = []
    while len(order) < min(n, len(free)):
        niche = niches[int(rng.integers(len(niches)))] if niches and rng.random() < _AWAY else None
        # The chance to succeed counts with a power of its own for each: where evaluations fail is known from few, and a
        # search that always heeds it stays away from what has only seemed to fail.
        worth = field.success if learned.success is None else rng.random() * field.success
        if prediction is not None:
            best = float(learned.worth[0]) if niche is None else niche.worth
            worth = worth + _log_worth(prediction, best, learned.floor, kappa, rng)
        allowed = free if niche is None else free & niche.holds(encoding, field.rows)
        chosen = int(np.argmax(np.where(allowed if allowed.any() else free, worth, -np.inf)))
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


def _steps(learned: Learned, encoding: Encoding) -> Array:
    """How far local candidates go in each column, as a multiple: less where the objective changes faster."""
    steps = np.ones(len(encoding.columns))
    if learned.objective is not None:
        lengths = learned.objective.shape.lengths
        for index, of in enumerate(encoding.column_groups):
            if of >= 0:
                steps[index] = min(max(float(lengths[of]), 0.1), 1.0)
    return steps
