"""A forest of extremely randomised trees as a surrogate: the spread of the trees is the uncertainty.

The share of trees in which two points fall into the same leaf says how much a result at one would tell about the other;
so pending points take spread away from what lies near them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from hpcsearch.search.columns import Array

#: So many trees are compared to see how near two points are, and so many pending points are looked at, the newest.
_COMPARED = 40
_PENDING = 512


class Forest:
    """A fitted forest."""

    def __init__(self, model: ExtraTreesRegressor) -> None:
        self._trees = [estimator.tree_ for estimator in model.estimators_]
        self._means = [np.ascontiguousarray(tree.value[:, 0, 0]) for tree in self._trees]
        self._variances = [np.maximum(tree.impurity, 0.0) for tree in self._trees]

    def predict(self, features: Array, pending: Array) -> ForestPrediction:
        leaves = self._leaves(features)
        means = np.stack([values[leaves[i]] for i, values in enumerate(self._means)])
        within = np.stack([values[leaves[i]] for i, values in enumerate(self._variances)])
        variance = means.var(axis=0) + within.mean(axis=0)
        prediction = ForestPrediction(means.mean(axis=0), np.sqrt(variance), leaves)
        if len(pending):
            prediction.place_all(self._leaves(pending[-_PENDING:]))
        return prediction

    def _leaves(self, features: Array) -> NDArray[np.intp]:
        """The leaf of each point in each tree, shape (trees, points)."""
        points = np.ascontiguousarray(features, dtype=np.float32)
        return np.stack([tree.apply(points) for tree in self._trees])


class ForestPrediction:
    """Means and spreads of candidates; see :class:`hpcsearch.search.surrogate.Prediction`."""

    def __init__(self, mean: Array, spread: Array, leaves: NDArray[np.intp]) -> None:
        self._mean = mean
        self._spread = spread
        self._compared = np.ascontiguousarray(leaves[:_COMPARED], dtype=np.int32)
        self._shared = np.zeros(len(mean), dtype=np.intp)  # trees in common with the nearest pending point

    @property
    def mean(self) -> Array:
        return self._mean

    @property
    def spread(self) -> Array:
        return np.asarray(self._spread * np.sqrt(1.0 - self._shared / len(self._compared)))

    def place(self, candidate: int) -> None:
        self._place(self._compared[:, candidate])

    def place_all(self, leaves: NDArray[np.intp]) -> None:
        """Counts points under way by their leaves, shape (trees, points)."""
        for placed in leaves[: len(self._compared)].T.astype(np.int32):
            self._place(placed)

    def _place(self, placed: NDArray[np.int32]) -> None:
        shared = np.count_nonzero(self._compared == placed[:, None], axis=0)
        np.maximum(self._shared, shared, out=self._shared)


class ForestFit:
    """Fits forests of ``trees`` trees with at least ``min_leaf`` points in each leaf."""

    def __init__(self, trees: int = 100, min_leaf: int = 1) -> None:
        self._trees = trees
        self._min_leaf = min_leaf

    def __call__(self, features: Array, objectives: Array, rng: np.random.Generator) -> Forest:
        model = ExtraTreesRegressor(
            self._trees, min_samples_leaf=self._min_leaf, random_state=int(rng.integers(2**31 - 1))
        )
        return Forest(model.fit(features, objectives))
