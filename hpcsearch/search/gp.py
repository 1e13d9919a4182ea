"""A Gaussian process as the model of an objective, for a few hundred points.

Matérn 5/2 with a length scale for each hyperparameter; of a choice it matters only whether it is the same. Length
scales, signal and noise are the most likely ones given the data and weak prior beliefs about them, found by gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from hpcsearch.search.columns import Array

Groups = NDArray[np.intp]

#: Prior beliefs about the logarithms: (mean, standard deviation). That of a length scale grows with the dimensions.
_LOG_SIGNAL = (0.0, 0.7)
_LOG_NOISE = (-9.0, 2.0)
_LENGTH_SPREAD = 1.0

#: Bounds of the logarithms of length scales, signal and noise.
_LENGTH_BOUNDS = (math.log(0.01), math.log(30.0))
_SIGNAL_BOUNDS = (-3.0, 4.0)
_NOISE_BOUNDS = (-13.0, 1.0)

_JITTER = 1e-8

#: How much the logarithms of length scales vary among shapes that explain the data about as well.
_DOUBT = 0.3

#: Evaluations of the posterior from each start, and numbers in its largest array: together they bound a fit's time.
_STEPS = 20
_LARGEST = 1_000_000

_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Shape:
    """What is fitted.

    Attributes:
        lengths: the length scale of each hyperparameter, on the scale of the features.
        signal: variance of the objective.
        noise: variance of what is added to it at random.
    """

    lengths: Array
    signal: float
    noise: float

    def drawn_near(self, rng: np.random.Generator) -> Shape:
        """Another shape that explains the data about as well: the likeliest one alone is believed too much."""
        lengths = self.lengths * np.exp(_DOUBT * rng.standard_normal(len(self.lengths)))
        noise = self.noise * math.exp(rng.standard_normal())
        return Shape(np.clip(lengths, *np.exp(_LENGTH_BOUNDS)), self.signal, noise)


def expected_shapes(dimensions: int) -> list[Shape]:
    """Where to start without any data: what is believed, and the other explanation, that most is noise."""
    length = _expected_length(dimensions)
    believed = Shape(np.full(dimensions, length), 1.0, math.exp(_LOG_NOISE[0]))
    return [believed, Shape(np.full(dimensions, 2.0 * length), 0.5, 0.5)]


def fit_points(dimensions: int, most: int) -> int:
    """How many points a fit takes so that its time stays bounded in spaces of many dimensions, too."""
    return min(most, math.isqrt(_LARGEST // max(1, dimensions)))


def fit(features: Array, groups: Groups, targets: Array, starts: Sequence[Shape]) -> Shape:
    """The most likely shape, sought from each of ``starts``; ``groups`` has the hyperparameter of each feature.

    ``targets`` are expected to be of mean 0 and variance 1.
    """
    dimensions, n = len(starts[0].lengths), len(features)
    squares = np.zeros((dimensions, n, n))
    for feature, group in zip(features.T, groups, strict=True):
        squares[group] += (feature[:, None] - feature[None, :]) ** 2
    apart = squares.reshape(dimensions, n * n)
    means = np.append(np.full(dimensions, math.log(_expected_length(dimensions))), (_LOG_SIGNAL[0], _LOG_NOISE[0]))
    spreads = np.append(np.full(dimensions, _LENGTH_SPREAD), (_LOG_SIGNAL[1], _LOG_NOISE[1]))

    def surprise(logs: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior density, and its gradient."""
        weights, signal, noise = np.exp(-2.0 * logs[:-2]), math.exp(logs[-2]), math.exp(logs[-1])
        scaled = _ROOT5 * np.sqrt(weights @ apart).reshape(n, n)
        decay = signal * np.exp(-scaled)
        covariance = (1.0 + scaled + scaled**2 / 3.0) * decay
        slope = (5.0 / 3.0) * (1.0 + scaled) * decay
        noisy = covariance.copy()
        noisy.flat[:: n + 1] += noise + _JITTER
        factor, failed = dpotrf(noisy, lower=1)
        if failed:
            return 1e25, np.zeros(len(logs))
        inverse, _ = dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        pull = inverse @ targets
        value = 0.5 * float(targets @ pull) + float(np.log(np.diag(factor)).sum())
        change = inverse - np.outer(pull, pull)
        gradient = np.empty(len(logs))
        gradient[:-2] = 0.5 * weights * (apart @ (change * slope).ravel())
        gradient[-2] = 0.5 * float(np.vdot(change, covariance))
        gradient[-1] = 0.5 * noise * float(np.trace(change))
        off = (logs - means) / spreads
        return value + 0.5 * float(off @ off), gradient + off / spreads

    bounds = [_LENGTH_BOUNDS] * dimensions + [_SIGNAL_BOUNDS, _NOISE_BOUNDS]
    options = {"maxfun": _STEPS}
    runs = [
        minimize(surprise, _logs(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        for start in starts
    ]
    found = min(runs, key=lambda run: float(run.fun)).x
    return Shape(np.exp(found[:-2]), math.exp(found[-2]), math.exp(found[-1]))


def _logs(shape: Shape) -> Array:
    return np.asarray(np.log(np.append(shape.lengths, (shape.signal, shape.noise))))


class Process:
    """A Gaussian process given data; not changed afterwards, so that threads may share it."""

    def __init__(self, features: Array, groups: Groups, targets: Array, shape: Shape) -> None:
        self.shape = shape
        self.scales = 1.0 / shape.lengths[groups]
        self.points = features * self.scales
        self.factor = _cholesky(covariance(self.points, self.points, shape.signal), shape.noise)
        self.pull = _solve(self.factor, _solve(self.factor, targets), trans=1)
        #: The expected objective at each point of the data, without its noise.
        self.smoothed: Array = targets - (shape.noise + _JITTER) * self.pull

    def predict(self, features: Array, pending: Array, room: int = 0) -> Prediction:
        """Predicts candidates, with the rows of ``pending`` (features too) under way and ``room`` more to be placed."""
        return self.given(pending).predict(features, room)

    def given(self, pending: Array) -> Conditioned:
        """The same process with these rows of features under way."""
        return Conditioned(self, pending)


class Conditioned:
    """A process with some points under way, whose results are expected to be as predicted."""

    def __init__(self, process: Process, pending: Array) -> None:
        self._process = process
        self._placed = pending * process.scales
        self._of_placed = _solve(process.factor, self._covariance(process.points, self._placed))
        left = self._covariance(self._placed, self._placed) - self._of_placed.T @ self._of_placed
        self._factor = _cholesky(left, process.shape.noise)

    def predict(self, features: Array, room: int = 0) -> Prediction:
        """Predicts candidates, with ``room`` for so many of them to be placed."""
        process, candidates = self._process, features * self._process.scales
        across = self._covariance(process.points, candidates)
        known = _solve(process.factor, across)
        used = len(known) + len(self._placed)
        parts = np.empty((used + room, len(features)))
        parts[: len(known)] = known
        if len(self._placed):
            left = self._covariance(self._placed, candidates) - self._of_placed.T @ known
            parts[len(known) : used] = _solve(self._factor, left)
        return Prediction(process.shape, candidates, process.pull @ across, parts, used)

    def _covariance(self, a: Array, b: Array) -> Array:
        return covariance(a, b, self._process.shape.signal)


def covariance(a: Array, b: Array, signal: float) -> Array:
    """Between points whose features are divided by the length scales."""
    scaled = (-10.0 * a) @ b.T  # in place from here on: this is where most of a proposal's time goes
    scaled += 5.0 * (a * a).sum(axis=1)[:, None]
    scaled += 5.0 * (b * b).sum(axis=1)[None, :]
    np.sqrt(np.maximum(scaled, 0.0, out=scaled), out=scaled)
    decay = np.exp(-scaled)
    decay *= signal
    factor = scaled / 3.0
    factor += 1.0
    factor *= scaled
    factor += 1.0
    factor *= decay
    return factor


class Prediction:
    """What a process says of a set of candidates.

    Attributes:
        mean: the expected objective of each. That of what is pending is taken to come true, so placing leaves it as is.
    """

    def __init__(self, shape: Shape, candidates: Array, mean: Array, parts: Array, used: int) -> None:
        self.mean = mean
        self._shape = shape
        self._candidates = candidates
        self._parts = parts  # the columns' squares sum up to the variance that data and pending points have explained
        self._used = used
        explained = np.einsum("ij,ij->j", parts[:used], parts[:used])
        self._variance = np.maximum(shape.signal - explained, 0.0)

    def joined(self, other: Prediction) -> Prediction:
        """Of the candidates of both, which are of the same process and have none placed yet."""
        candidates = np.concatenate([self._candidates, other._candidates])
        parts, mean = np.hstack([self._parts, other._parts]), np.concatenate([self.mean, other.mean])
        return Prediction(self._shape, candidates, mean, parts, self._used)

    @property
    def spread(self) -> Array:
        """The standard deviation that will be left once the results of all that is pending are there."""
        return np.asarray(np.sqrt(self._variance + _JITTER))

    def place(self, candidate: int) -> None:
        """Counts a candidate as pending from now on; ``spread`` shrinks around it."""
        parts = self._parts[: self._used]
        with_it = covariance(self._candidates[candidate : candidate + 1], self._candidates, self._shape.signal)[0]
        left = with_it - parts[:, candidate] @ parts
        part = left / math.sqrt(float(self._variance[candidate]) + self._shape.noise + _JITTER)
        self._parts[self._used] = part
        self._used += 1
        self._variance = np.maximum(self._variance - part * part, 0.0)


def _solve(factor: Array, right: Array, trans: int = 0) -> Array:
    return np.asarray(solve_triangular(factor, right, lower=True, trans=trans, check_finite=False))


def _expected_length(dimensions: int) -> float:
    return 0.5 * math.sqrt(max(1, dimensions) / 2.0)


def _cholesky(matrix: Array, noise: float) -> Array:
    """The lower factor, with as much added to the diagonal as rounding makes necessary."""
    extra = noise + _JITTER
    while True:
        shifted = matrix.copy()
        shifted.flat[:: len(matrix) + 1] += extra
        factor, failed = dpotrf(shifted, lower=1)
        if not failed:
            return np.asarray(np.tril(factor))
        extra *= 10.0
