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


@dataclass(frozen=True)
class Points:
    """Points that covariances are taken between.

    The covariance of one range alone, where x > y, is exp(y - x) (1 + (x - y) + (x - y)^2 / 3): three products of a
    part of x and one of y. Elsewhere it is the same with both turned round. The wrong one of these two is always the
    greater.

    Attributes:
        scaled: their features in units of the length scales over the root of 5, from a point in their middle, so that
            exponentials stay small; shape (n, features).
        firsts: the parts of x in both, shape (2, ranges, n, 3).
        seconds: the parts of y in both, shape (2, ranges, 3, n).
    """

    scaled: Array
    firsts: Array
    seconds: Array

    def some(self, which: NDArray[np.intp]) -> Points:
        """Those at these places."""
        return Points(self.scaled[which], self.firsts[:, :, which], self.seconds[:, :, :, which])


class Kernel:
    """The covariance between points, without noise; ``groups`` has the hyperparameter of each feature, in order."""

    def __init__(self, shape: Shape, groups: Groups) -> None:
        self.shape = shape
        dimensions = len(shape.lengths)
        self._alone = shape.signal * shape.alone / max(1, dimensions)  # the variance that each brings by itself
        self._together = shape.signal - dimensions * self._alone
        self._scales = _ROOT5 / shape.lengths[groups]
        edges = np.searchsorted(groups, np.arange(dimensions + 1 if self._alone else 0))
        parts = [slice(start, stop) for start, stop in pairwise(edges)]
        self._ranges = [part.start for part in parts if part.stop == part.start + 1]
        self._choices = [part for part in parts if part.stop > part.start + 1]

    def points(self, features: Array) -> Points:
        """Points by their features."""
        return self._points((features - 0.5) * self._scales)

    def joined(self, one: Points, other: Points) -> Points:
        """The points of both."""
        return self._points(np.concatenate([one.scaled, other.scaled]))

    def _points(self, scaled: Array) -> Points:
        x = scaled[:, self._ranges].T
        one, third, square, grown = np.ones(x.shape), np.full(x.shape, 1.0 / 3.0), x * x, np.exp(x)
        falling = np.stack([one + x + square / 3.0, -one - x / 1.5, third], axis=2) / grown[:, :, None]
        rising = np.stack([one - x + square / 3.0, one - x / 1.5, third], axis=2) * grown[:, :, None]
        powers = np.stack([one, x, square], axis=1)
        seconds = np.stack([powers * grown[:, None], powers / grown[:, None]])
        return Points(scaled, self._alone * np.stack([falling, rising]), seconds)

    def __call__(self, a: Points, b: Points) -> Array:
        """Between the points of ``a`` and of ``b``; shape (a, b)."""
        size = (len(a.scaled), len(b.scaled))
        spare = np.empty((2, *size))  # this is where most of a proposal's time goes; new memory takes longer
        found = _matern(_squares(a.scaled, b.scaled, spare[0]), self._together, np.empty(size))
        for index in range(len(self._ranges)):
            np.matmul(a.firsts[0, index], b.seconds[0, index], out=spare[0])
            np.matmul(a.firsts[1, index], b.seconds[1, index], out=spare[1])
            found += np.minimum(spare[0], spare[1], out=spare[0])
        for part in self._choices:
            found += _of_choice(a.scaled[:, part], b.scaled[:, part], self._alone, spare[0])
        return found

    def with_one(self, points: Points, index: int) -> Array:
        """Between one of the points and all of them; shape (points,)."""
        apart = points.scaled - points.scaled[index]
        found = _matern(_of_rows(apart), self._together, np.empty(len(apart)))
        falling, rising = points.firsts[:, :, index : index + 1] @ points.seconds
        found += np.minimum(falling, rising).sum(axis=0)[0]
        for part in self._choices:
            found += _matern(_of_rows(apart[:, part]), self._alone, np.empty(len(apart)))
        return found


def _of_rows(apart: Array) -> Array:
    """The squared length of each row."""
    return np.asarray(np.einsum("ij,ij->i", apart, apart))


def _squares(a: Array, b: Array, out: Array) -> Array:
    """Squared distances."""
    np.matmul(-2.0 * a, b.T, out=out)
    out += _of_rows(a)[:, None]
    out += _of_rows(b)[None, :]
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


def _of_choice(a: Array, b: Array, weight: float, out: Array) -> Array:
    """Of one choice alone, by its features: its few values are looked up."""
    points = np.concatenate([a, b])
    # The roots tell them apart, and what is inactive, which is the mean of all of them.
    keys = (points * np.sqrt(np.arange(2.0, points.shape[1] + 2))).sum(axis=1)
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    values = points[first]
    size = (len(values), len(values))
    values = _matern(_squares(values, values, np.empty(size)), weight, np.empty(size))
    # None is out of bounds; but only a mode that mends those writes to ``out`` without a copy.
    return np.take(values[places[: len(a)]], places[len(a) :], axis=1, out=out, mode="clip")


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
        those = slice(None if shape.alone else 0)
        each, bends = _matern_and_bend(self._distances[those] * inverse[those, None])
        bends *= self._squares[those]
        alone = each.mean(axis=0) if len(each) else together

        def slopes(change: Array) -> Array:
            of_lengths = (1.0 - shape.alone) * (self._squares @ (change * bend))
            if len(each):
                of_lengths += shape.alone / len(each) * (bends @ change)
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
