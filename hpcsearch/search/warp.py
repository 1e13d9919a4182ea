"""Objectives on the scale that a model is fitted to: mean 0, variance 1, and no outliers."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from hpcsearch.search.columns import Array

#: How far below the median an objective may count, in root mean squares of the better half's distances from it.
_TAIL = 3.0


def half_rank(objectives: Array) -> Array:
    """What is below the median is replaced by its rank, on the scale of the better half.

    So that a model spends nothing on how bad the bad ones are.
    """
    warped, scale = _centred(objectives)
    worse = warped < 0.0
    if scale == 0.0:
        return np.zeros(len(objectives))
    _, rank, counts = np.unique(objectives, return_inverse=True, return_counts=True)
    level = (np.cumsum(counts) - counts / 2) / len(objectives)
    warped[worse] = scale * np.minimum(ndtri(level[rank[worse]]), 0.0)
    return np.asarray((warped - warped.mean()) / warped.std())


def winsorised(objectives: Array) -> Array:
    """What is far below the median counts as not quite so far."""
    warped, scale = _centred(objectives)
    if scale == 0.0:
        return np.zeros(len(objectives))
    warped = np.maximum(warped, -_TAIL * scale)
    return np.asarray((warped - warped.mean()) / warped.std())


def _centred(objectives: Array) -> tuple[Array, float]:
    """Distances from the median in units of the best one's, and the root mean square of the better half's.

    Where nothing is better than the median, both are by the others; the latter is 0 where all are equal.
    """
    quarters = objectives / 4  # because sums and differences of the largest floats overflow
    centred = quarters - np.median(quarters)
    telling = centred > 0.0 if (centred > 0.0).any() else centred < 0.0
    if not telling.any():
        return centred, 0.0
    with np.errstate(over="ignore"):
        scaled = np.maximum(centred / np.abs(centred[telling]).max(), -1e12)
    return scaled, float(np.sqrt(np.mean(scaled[telling] ** 2)))
