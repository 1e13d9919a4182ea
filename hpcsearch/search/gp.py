"""A Gaussian process as the model of an objective, for a few hundred points.

Its shape (see :mod:`hpcsearch.search.kernel`) is the most likely one given the data and weak prior beliefs about it,
found by gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.special import expit, logit

from hpcsearch.search.columns import Array
from hpcsearch.search.kernel import LENGTH_BOUNDS, Groups, Kernel, Pairs, Points, Shape

#: Prior beliefs about the logarithms of signal, noise and the odds of a sum, (mean, standard deviation), and of length
#: scales, of which the mean grows with the dimensions.
_BELIEFS = ((0.0, 0.7), (-9.0, 2.0), (-1.0, 1.5))
_LENGTH_SPREAD = 1.0

#: Bounds of these logarithms.
_BOUNDS = ((-3.0, 4.0), (-13.0, 1.0), (-6.0, 6.0))

_JITTER = 1e-8

#: Evaluations of the posterior from each start, and numbers in its largest array: together they bound a fit's time.
_STEPS = 20
_LARGEST = 1_000_000


def expected_shapes(dimensions: int, sums: bool) -> list[Shape]:
    """Where to start without any data: what is believed, that most is noise, that each has many valleys by itself.

    Without ``sums`` nothing is a sum of what each does by itself.
    """
    length, noise = _expected_length(dimensions), math.exp(_BELIEFS[1][0])
    starts = ((length, 1.0, noise, 0.3), (2.0 * length, 0.5, 0.5, 0.3), (0.12, 1.0, noise, 0.8))
    return [
        Shape(np.full(dimensions, length), signal, noise, alone if sums else 0.0)
        for length, signal, noise, alone in starts
    ]


def fit_points(dimensions: int, most: int) -> int:
    """How many points a fit takes so that its time stays bounded in spaces of many dimensions, too."""
    return min(most, math.isqrt(_LARGEST // max(1, dimensions)))


def fit(features: Array, groups: Groups, targets: Array, starts: Sequence[Shape]) -> Shape:
    """The most likely shape, sought from each of ``starts``; ``groups`` has the hyperparameter of each feature.

    ``targets`` are expected to be of mean 0 and variance 1. Where the first start has no part that is a sum, none has.
    """
    sums = starts[0].alone > 0.0
    dimensions, n = len(starts[0].lengths), len(features)
    pairs = Pairs(features, groups, dimensions)
    means = np.append(np.full(dimensions, math.log(_expected_length(dimensions))), [mean for mean, _ in _BELIEFS])
    spreads = np.append(np.full(dimensions, _LENGTH_SPREAD), [spread for _, spread in _BELIEFS])

    def surprise(logs: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior density, and its gradient."""
        shape = _shape(logs, sums)
        covariance, slopes = pairs.covariance(shape)
        noisy = np.zeros((n, n), order="F")
        noisy[pairs.places] = covariance
        noisy.flat[:: n + 1] = shape.signal + shape.noise + _JITTER
        factor, failed = dpotrf(noisy, lower=1, overwrite_a=1)
        if failed:
            return 1e25, np.zeros(len(logs))
        value = float(np.log(np.diag(factor)).sum())
        inverse, _ = dpotri(factor, lower=1)
        lower = np.tril(inverse)
        own = np.diag(lower).copy()
        pull = lower @ targets + lower.T @ targets - own * targets
        change = lower[pairs.places] - pull[pairs.places[0]] * pull[pairs.places[1]]
        half_trace = 0.5 * float((own - pull * pull).sum())
        of_signal = shape.signal * half_trace + float(change @ covariance)
        gradient = np.insert(slopes(change), dimensions, (of_signal, shape.noise * half_trace))
        off = (logs - means) / spreads
        return value + 0.5 * float(targets @ pull) + 0.5 * float(off @ off), gradient + off / spreads

    of_lengths = (math.log(LENGTH_BOUNDS[0]), math.log(LENGTH_BOUNDS[1]))
    bounds = [*[of_lengths] * dimensions, *_BOUNDS[:2], _BOUNDS[2] if sums else (0.0, 0.0)]
    options = {"maxfun": _STEPS}
    runs = [
        minimize(surprise, _logs(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        for start in starts
    ]
    return _shape(min(runs, key=lambda run: float(run.fun)).x, sums)


def _logs(shape: Shape) -> Array:
    odds = logit(shape.alone) if shape.alone else 0.0
    return np.append(np.log(np.append(shape.lengths, (shape.signal, shape.noise))), odds)


def _shape(logs: Array, sums: bool) -> Shape:
    alone = float(expit(logs[-1])) if sums else 0.0
    return Shape(np.exp(logs[:-3]), math.exp(logs[-3]), math.exp(logs[-2]), alone)


class Process:
    """A Gaussian process given data; not changed afterwards, so that threads may share it."""

    def __init__(self, features: Array, groups: Groups, targets: Array, shape: Shape) -> None:
        self.shape = shape
        self.kernel = Kernel(shape, groups)
        self.points = self.kernel.points(features)
        self.factor = _cholesky(self.kernel(self.points, self.points), shape.noise)
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
        self._process, kernel = process, process.kernel
        self._placed = kernel.points(pending)
        self._of_placed = _solve_there(process.factor, kernel(process.points, self._placed))
        left = kernel(self._placed, self._placed) - self._of_placed.T @ self._of_placed
        self._factor = _cholesky(left, process.shape.noise)

    def predict(self, features: Array, room: int = 0) -> Prediction:
        """Predicts candidates, with ``room`` for so many of them to be placed."""
        process, kernel = self._process, self._process.kernel
        candidates = kernel.points(features)
        data = len(process.factor)
        used = data + len(self._factor)
        parts = np.empty((used + room, len(features)))
        parts[:data] = kernel(process.points, candidates)
        mean = process.pull @ parts[:data]
        known = _solve_there(process.factor, parts[:data])
        if len(self._factor):
            np.subtract(kernel(self._placed, candidates), self._of_placed.T @ known, out=parts[data:used])
            _solve_there(self._factor, parts[data:used])
        return Prediction(kernel, candidates, mean, parts, used)


class Prediction:
    """What a process says of a set of candidates.

    Attributes:
        mean: the expected objective of each. That of what is pending is taken to come true, so placing leaves it as is.
    """

    def __init__(self, kernel: Kernel, candidates: Points, mean: Array, parts: Array, used: int) -> None:
        self.mean = mean
        self._kernel = kernel
        self._candidates = candidates
        self._parts = parts  # the columns' squares sum up to the variance that data and pending points have explained
        self._used = used
        explained = np.einsum("ij,ij->j", parts[:used], parts[:used])
        self._variance = np.maximum(kernel.shape.signal - explained, 0.0)

    def joined(self, other: Prediction) -> Prediction:
        """Of the candidates of both, which are of the same process and have none placed yet."""
        candidates = self._kernel.joined(self._candidates, other._candidates)
        parts, mean = np.hstack([self._parts, other._parts]), np.concatenate([self.mean, other.mean])
        return Prediction(self._kernel, candidates, mean, parts, self._used)

    def some(self, which: NDArray[np.intp]) -> Prediction:
        """Of the candidates at these places."""
        parts = np.empty((len(self._parts), len(which)))
        parts[: self._used] = self._parts[: self._used, which]
        return Prediction(self._kernel, self._candidates.some(which), self.mean[which], parts, self._used)

    @property
    def spread(self) -> Array:
        """The standard deviation that will be left once the results of all that is pending are there."""
        return np.asarray(np.sqrt(self._variance + _JITTER))

    def place(self, candidate: int) -> None:
        """Counts a candidate as pending from now on; ``spread`` shrinks around it."""
        parts = self._parts[: self._used]
        with_it = self._kernel.with_one(self._candidates, candidate)
        left = with_it - parts[:, candidate] @ parts
        part = left / math.sqrt(float(self._variance[candidate]) + self._kernel.shape.noise + _JITTER)
        self._parts[self._used] = part
        self._used += 1
        self._variance = np.maximum(self._variance - part * part, 0.0)


def _solve(factor: Array, right: Array, trans: int = 0) -> Array:
    return np.asarray(solve_triangular(factor, right, lower=True, trans=trans, check_finite=False))


def _solve_there(factor: Array, right: Array) -> Array:
    """As :func:`_solve` for whole rows of an array, which become the solution: for large ones, copies take long."""
    # Rows in the order of C are columns in that of BLAS, which so works in their place.
    if right.size:
        dtrsm(1.0, factor, right.T, side=1, lower=1, trans_a=1, overwrite_b=1)
    return right


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
            return np.asarray(factor)
        extra *= 10.0
