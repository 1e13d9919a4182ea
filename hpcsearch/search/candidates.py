"""Candidates for the next evaluation: some anywhere, some near the best that is known."""

from __future__ import annotations

import math

import numpy as np

from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask

#: The share of local candidates that are made of two centres: where an objective is nearly a sum, as many are, what is
#: best in one is best in another, too.
_CROSSED = 0.3

#: Steps of local candidates as a share of the range, log-uniform between these.
_SMALLEST_STEP, _LARGEST_STEP = 0.001, 0.5


def candidates(encoding: Encoding, centres: Array, steps: Array, n: int, rng: np.random.Generator) -> Array:
    """About ``n`` legal rows: half drawn from the whole space, half moved away from one of ``centres``.

    For ``steps`` see :func:`near`.
    """
    anywhere = encoding.draw(n - n // 2, rng)
    if not len(centres) or not encoding.columns:
        return anywhere
    return np.concatenate([near(encoding, centres, steps, n // 2, rng), anywhere])


def near(encoding: Encoding, centres: Array, steps: Array, n: int, rng: np.random.Generator) -> Array:
    """At most ``n`` legal rows, each a centre or of two mixed, of which some hyperparameters have moved.

    The steps are of all sizes. These are multiplied by ``steps``, one factor for each column.
    """
    one, other = centres[rng.integers(len(centres), size=(2, n))]
    taken = rng.random(one.shape) < rng.random((n, 1))
    rows = np.where(taken & (rng.random(n) < _CROSSED)[:, None], other, one)
    moved = rng.random(rows.shape) < rng.random((n, 1)) ** 2
    return moves(encoding, rows, moved, steps, rng)


def moves(encoding: Encoding, rows: Array, moved: Mask, steps: Array, rng: np.random.Generator) -> Array:
    """The legal ones among ``rows`` after moves where ``moved`` says so, and at one place drawn at random in any case.

    ``rows`` is changed. For ``steps`` see :func:`near`.
    """
    movable = np.array([column.size > 1 for column in encoding.columns]) & ~np.isnan(rows)
    moved &= movable
    surely = np.argmax(np.where(movable, rng.random(rows.shape), -1.0), axis=1)
    every = np.arange(len(rows))
    moved[every, surely] = movable[every, surely]
    sigma = np.exp(rng.uniform(math.log(_SMALLEST_STEP), math.log(_LARGEST_STEP), len(rows)))
    for index, column in enumerate(encoding.columns):
        which = np.flatnonzero(moved[:, index])
        if len(which):
            rows[which, index] = column.move(rows[which, index], steps[index] * sigma[which], rng)
    return encoding.complete(rows, rng)
