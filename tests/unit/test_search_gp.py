"""The Gaussian process."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from hpcsearch.search.acquisition import log_expected_improvement
from hpcsearch.search.columns import Array
from hpcsearch.search.gp import Process, Shape, expected_shapes, fit, fit_points

GROUPS = np.array([0, 1, 1])
SHAPE = Shape(np.array([0.4, 1.2]), 1.3, 0.01)
NONE = np.empty((0, 3))


def direct(points: Array, targets: Array, candidates: Array) -> tuple[Array, Array]:
    """Mean and standard deviation by the textbook's formulas."""

    def covariance(a: Array, b: Array) -> Array:
        lengths = SHAPE.lengths[GROUPS]
        r = math.sqrt(5) * np.sqrt((((a[:, None] - b[None]) / lengths) ** 2).sum(axis=2))
        return np.asarray(SHAPE.signal * (1 + r + r**2 / 3) * np.exp(-r))

    inverse = np.linalg.inv(covariance(points, points) + SHAPE.noise * np.eye(len(points)))
    across = covariance(candidates, points)
    return across @ inverse @ targets, np.sqrt(SHAPE.signal - np.einsum("ij,jk,ik->i", across, inverse, across))


def test_it_predicts_as_the_textbook_says_with_points_pending_and_placed() -> None:
    rng = np.random.default_rng(0)
    points, candidates, pending = rng.random((12, 3)), rng.random((7, 3)), rng.random((2, 3))
    targets = rng.standard_normal(12)
    process = Process(points, GROUPS, targets, SHAPE)
    mean, spread = direct(points, targets, candidates)
    free = process.predict(candidates, NONE, room=1)
    np.testing.assert_allclose(free.mean, mean, atol=1e-6)
    np.testing.assert_allclose(free.spread, spread, atol=1e-6)
    np.testing.assert_allclose(process.smoothed, direct(points, targets, points)[0], atol=1e-6)
    both = np.concatenate([points, pending])
    under_way = process.predict(candidates, pending)
    np.testing.assert_allclose(under_way.mean, mean, atol=1e-6)
    np.testing.assert_allclose(under_way.spread, direct(both, np.zeros(14), candidates)[1], atol=1e-6)
    free.place(3)
    np.testing.assert_allclose(free.spread, process.predict(candidates, candidates[3:4]).spread, atol=1e-6)


def test_predictions_are_joined_as_if_made_at_once() -> None:
    rng = np.random.default_rng(1)
    points, candidates, pending = rng.random((12, 3)), rng.random((9, 3)), rng.random((4, 3))
    given = Process(points, GROUPS, rng.standard_normal(12), SHAPE).given(pending)
    whole = given.predict(candidates, room=2)
    joined = given.predict(candidates[:5], room=2).joined(given.predict(candidates[5:], room=2))
    for prediction in (whole, joined):
        prediction.place(6)
        prediction.place(1)
    np.testing.assert_allclose(joined.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(joined.spread, whole.spread, atol=1e-9)


def test_a_shape_that_is_drawn_near_another_differs_and_keeps_to_the_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn = [Shape(np.array([0.01, 1.0, 30.0]), 1.3, 0.01).drawn_near(rng) for _ in range(400)]
    lengths = np.array([shape.lengths for shape in drawn])
    assert lengths[:, 0].min() == pytest.approx(0.01) and lengths[:, 2].max() == pytest.approx(30.0)
    assert abs(np.log(lengths[:, 1]).mean()) < 0.1
    assert 0.2 < np.log(lengths[:, 1]).std() < 0.4
    assert all(shape.signal == 1.3 for shape in drawn)


def test_a_fit_finds_what_matters_and_how_much_is_noise() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((120, 3))
    clean = np.sin(6 * features[:, 0])
    shapes = []
    for noise in (0.0, 0.5):
        targets = clean + noise * rng.standard_normal(120)
        targets = (targets - targets.mean()) / targets.std()
        shapes.append(fit(features, np.arange(3), targets, expected_shapes(3)))
    for shape in shapes:
        assert shape.lengths[0] < 0.5 * shape.lengths[1:].min()
    assert shapes[0].noise < 0.01 < 0.1 < shapes[1].noise < 0.8


def test_duplicates_without_noise_are_no_trouble() -> None:
    points = np.repeat(np.random.default_rng(0).random((4, 3)), 10, axis=0)
    process = Process(points, GROUPS, np.arange(40.0), Shape(np.full(2, 30.0), 4.0, 0.0))
    prediction = process.predict(points, points, room=40)
    for index in range(40):
        prediction.place(index)
    assert np.isfinite(prediction.mean).all() and np.isfinite(prediction.spread).all()


def test_many_dimensions_make_a_fit_take_fewer_points() -> None:
    assert fit_points(10, 200) == 200
    assert fit_points(500, 200) < 50


@pytest.mark.parametrize("z", [-3.0, -0.5, 0.0, 0.5, 4.0])
def test_expected_improvement(z: float) -> None:
    normal = NormalDist()
    expected = 2.0 * (normal.pdf(z) + z * normal.cdf(z))
    found = log_expected_improvement(np.array([1.0 + 2.0 * z]), np.array([2.0]), 1.0)
    assert math.exp(found[0]) == pytest.approx(expected, rel=1e-6)


def test_expected_improvement_tells_hopeless_ones_apart() -> None:
    found = log_expected_improvement(-np.array([1.0, 50.0, 1e3, 1e6]), np.ones(4), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
