"""How alike the objectives of two configurations are expected to be: the covariance of a Gaussian process.

A part of the objective is a sum of what each hyperparameter does by itself, the rest is what they do together. Much of
what is tuned is mostly such a sum, and a sum is learned from far fewer evaluations: what is known of a value holds
whatever the others are (Duvenaud, Nickisch and Rasmussen, Additive Gaussian Processes, 2011, section 3, of which this
has the first order and the last). Both parts are Matérn 5/2, with the same length scale for each hyperparameter; of a
choice it matters only whether it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hpcsearch.search.columns import Array

Groups = NDArray[np.intp]

#: Bounds of the length scales.
LENGTH_BOUNDS = (0.01, 30.0)

#: How much the logarithms of length scales vary among shapes that explain the data about as well.
_DOUBT = 0.3

_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Shape:
    """What is fitted.

    Attributes:
        lengths: the length scale of each hyperparameter, on the scale of the features.
        signal: variance of the objective.
        noise: variance of what is added to it at random.
        alone: the share of ``signal`` that is a sum of what each hyperparameter does by itself.
    """

    lengths: Array
    signal: float
    noise: float
    alone: float

    def drawn_near(self, rng: np.random.Generator) -> Shape:
        """Another shape that explains the data about as well: the likeliest one alone is believed too much."""
        lengths = self.lengths * np.exp(_DOUBT * rng.standard_normal(len(self.lengths)))
        noise = self.noise * math.exp(rng.standard_normal())
        return Shape(np.clip(lengths, *LENGTH_BOUNDS), self.signal, noise, self.alone)


class Kernel:
    """The covariance between points, without noise; ``groups`` has the hyperparameter of each feature, in order."""

    def __init__(self, shape: Shape, groups: Groups) -> None:
        self.shape = shape
        dimensions = len(shape.lengths)
        self._scales = _ROOT5 / shape.lengths[groups]
        self._starts = np.searchsorted(groups, np.arange(dimensions))
        self._parts = [slice(start, stop) for start, stop in pairwise([*self._starts, len(groups)])]
        self._alone = shape.signal * shape.alone / max(1, dimensions)  # the variance that each brings by itself
        self._together = shape.signal - dimensions * self._alone

    def scaled(self, features: Array) -> Array:
        """What the covariance takes of features, from a point in their middle, so that exponentials stay small."""
        return np.asarray((features - 0.5) * self._scales)

    def __call__(self, a: Array, b: Array) -> Array:
        """Between the points of ``a`` and of ``b``, which are scaled; shape (a, b)."""
        spare = np.empty((2, len(a), len(b)))  # this is where most of a proposal's time goes; new memory takes longer
        found = _matern(_squares(a, b, spare[0]), self._together, np.empty((len(a), len(b))))
        for part in self._parts if self._alone else ():
            found += _of_one(a[:, part], b[:, part], self._alone, spare)
        return found

    def with_one(self, point: Array, others: Array) -> Array:
        """Between one point and others, which are scaled; shape (others,)."""
        squares = (others - point) ** 2
        alone = np.add.reduceat(squares, self._starts, axis=1) if len(self._starts) else squares
        together = alone.sum(axis=1)
        each = _matern(alone, self._alone, np.empty(alone.shape)).sum(axis=1)
        return np.asarray(_matern(together, self._together, np.empty(len(others))) + each)


def _squares(a: Array, b: Array, out: Array) -> Array:
    """Squared distances."""
    np.matmul(-2.0 * a, b.T, out=out)
    out += (a * a).sum(axis=1)[:, None]
    out += (b * b).sum(axis=1)[None, :]
    return np.maximum(out, 0.0, out=out)


def _matern(squares: Array, weight: float, out: Array) -> Array:
    """Of squared distances, in units of the length scale times the root of 5. ``squares`` is changed."""
    scaled = np.sqrt(squares, out=squares)
    decay = np.exp(np.negative(scaled, out=out), out=out)
    decay *= weight
    scaled += 1.5  # for 1 + s + s^2 / 3 is ((s + 1.5)^2 + 0.75) / 3
    scaled *= scaled
    scaled += 0.75
    scaled /= 3.0
    decay *= scaled
    return decay


def _of_one(a: Array, b: Array, weight: float, spare: Array) -> Array:
    """Of one hyperparameter alone; ``a`` and ``b`` have its features. The result is in ``spare``."""
    if a.shape[1] != 1:
        return _of_choice(a, b, weight, spare)
    # Where a > b it is exp(b - a) (1 + (a - b) + (a - b)^2 / 3), which is three products of a part of a and one of b,
    # and elsewhere the same with both turned round. The wrong one of these two is always the greater.
    x, y = a[:, 0], b[:, 0]
    powers = np.stack([np.ones(len(y)), y, y * y])
    falling = np.stack([1.0 + x + x * x / 3.0, -1.0 - x / 1.5, np.full(len(x), 1.0 / 3.0)], axis=1)
    rising = np.stack([1.0 - x + x * x / 3.0, 1.0 - x / 1.5, np.full(len(x), 1.0 / 3.0)], axis=1)
    np.matmul(weight * np.exp(-x)[:, None] * falling, powers * np.exp(y), out=spare[0])
    np.matmul(weight * np.exp(x)[:, None] * rising, powers * np.exp(-y), out=spare[1])
    return np.asarray(np.minimum(spare[0], spare[1], out=spare[0]))


def _of_choice(a: Array, b: Array, weight: float, spare: Array) -> Array:
    """As :func:`_of_one`, of a choice: its few values are looked up."""
    points = np.concatenate([a, b])
    # The roots tell them apart, and what is inactive, which is the mean of all of them.
    keys = (points * np.sqrt(np.arange(2.0, points.shape[1] + 2))).sum(axis=1)
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    values = points[first]
    size = (len(values), len(values))
    values = _matern(_squares(values, values, np.empty(size)), weight, np.empty(size))
    return np.take(values[places[: len(a)]], places[len(a) :], axis=1, out=spare[0], mode="clip")


class Pairs:
    """The covariances between all pairs of different points.

    Args:
        features: the points, shape (n, features).
        groups: the hyperparameter of each feature.
        dimensions: how many hyperparameters there are.

    Attributes:
        places: the row and the column of each pair in a matrix of n by n.
    """

    def __init__(self, features: Array, groups: Groups, dimensions: int) -> None:
        self.places = first, second = np.tril_indices(len(features), -1)
        self._squares = np.zeros((dimensions, len(first)))
        for feature, group in zip(features.T, groups, strict=True):
            self._squares[group] += 5.0 * (feature[first] - feature[second]) ** 2
        self._distances = np.sqrt(self._squares)

    def covariance(self, shape: Shape) -> tuple[Array, Callable[[Array], Array]]:
        """Of each pair; and what turns a derivative by each of these into those by the logarithms of a shape.

        The latter are those of the length scales and of the odds of ``alone``.
        """
        inverse = 1.0 / shape.lengths
        together, bend = _matern_and_bend(np.sqrt(inverse**2 @ self._squares))
        each, bends = _matern_and_bend(self._distances * inverse[:, None])
        alone = each.mean(axis=0) if len(each) else together

        def slopes(change: Array) -> Array:
            of_lengths = (1.0 - shape.alone) * (self._squares @ (change * bend))
            bends[:] *= self._squares
            of_lengths += shape.alone / max(1, len(each)) * (bends @ change)
            of_alone = shape.alone * (1.0 - shape.alone) * float(change @ (alone - together))
            return shape.signal * np.append(inverse**2 * of_lengths, of_alone)

        return shape.signal * ((1.0 - shape.alone) * together + shape.alone * alone), slopes


def _matern_and_bend(scaled: Array) -> tuple[Array, Array]:
    """Of distances in units of the length scale times the root of 5, and minus the derivative by half their squares.

    ``scaled`` is changed.
    """
    decay = np.exp(-scaled)
    decay /= 3.0
    bend = scaled + 1.0
    bend *= decay
    scaled *= scaled
    decay *= scaled
    decay += np.multiply(bend, 3.0, out=scaled)
    return decay, bend
