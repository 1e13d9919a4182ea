"""The initial design: points that cover the unit cube better than independent draws do."""

from __future__ import annotations

import numpy as np

from hpcsearch.search.columns import Array

#: Latin hypercubes drawn, of which the one with the widest gap between its two nearest points is kept.
_TRIES = 16


def latin_hypercube(n: int, dimensions: int, rng: np.random.Generator) -> Array:
    """``n`` points of which each coordinate has one in each n-th part of [0, 1); shape (n, dimensions)."""
    best, widest = np.empty((n, dimensions)), -1.0
    for _ in range(_TRIES if 1 < n <= 64 else 1):
        strata = np.argsort(rng.random((n, dimensions)), axis=0)
        points = (strata + rng.random((n, dimensions))) / n
        gap = _narrowest_gap(points) if n <= 64 else 0.0
        if gap > widest:
            best, widest = points, gap
    return best


def _narrowest_gap(points: Array) -> float:
    squares = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    return float(squares.min(initial=np.inf))
