"""One number for several objectives, by which a model of one can look for all that no other configuration beats.

ParEGO (Knowles 2006, IEEE Transactions on Evolutionary Computation 10(1), section III): the weights are drawn anew for
each model, so that in time every part of the front is searched for, concave ones too. Other than there, objectives are
measured by the ranges of the front: one that went astray does not make all others look alike.
"""

from __future__ import annotations

import numpy as np

from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Mask

#: How much the weighted sum counts beside the largest weighted distance: of two equally far ones, what is beaten loses.
_AUGMENTED = 0.05

#: A front's range is taken to be at least this share of the way from the best value to the median.
_LEAST_RANGE = 0.05

#: No value counts as further from the best one, in ranges.
_MOST_COST = 1e12


def drawn_weights(objectives: int, rng: np.random.Generator) -> Array:
    """Weights from the simplex, each place of it as likely as any other."""
    return rng.dirichlet(np.ones(objectives))


def scalarised(values: Array, weights: Array) -> Array:
    """The augmented Chebyshev scalar of each line; greater is better, and what beats a line has more.

    Args:
        values: a line of objectives for each evaluation, greater is better. A line whose first one is NaN is a
            failure, and its scalar is NaN; any other that is NaN is not known, and counts as the median of those known.
        weights: of the objectives, adding up to 1.
    """
    scalars = np.full(len(values), np.nan)
    succeeded = ~np.isnan(values[:, 0])
    if succeeded.any():
        costs = _costs(_completed(values[succeeded] / 4)) * weights  # differences of the largest floats overflow
        scalars[succeeded] = -(costs.max(axis=1) + _AUGMENTED * costs.sum(axis=1))
    return scalars


def _completed(values: Array) -> Array:
    medians = [np.median(known) if len(known := column[~np.isnan(column)]) else 0.0 for column in values.T]
    return np.where(np.isnan(values), medians, values)


def _costs(values: Array) -> Array:
    """How far each value is from the best one, as a share of the range that the front has there."""
    best, front = values.max(axis=0), values[unbeaten(values)]
    scale = np.maximum(np.ptp(front, axis=0), _LEAST_RANGE * (best - np.median(values, axis=0)))
    scale = np.where(scale > 0.0, scale, np.ptp(values, axis=0))
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum((best - values) / np.where(scale > 0.0, scale, 1.0), _MOST_COST))


def unbeaten(values: Array) -> Mask:
    """Which lines no other one equals or beats in all and beats in one; greater is better."""
    left = np.ones(len(values), dtype=np.bool_)
    for index, line in enumerate(values):
        if left[index]:
            left &= ~((values <= line).all(axis=1) & (values < line).any(axis=1))
    return left
