"""The Gaussian process."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.search.acquisition import log_expected_improvement
from hpcsearch.search.columns import Array, ChoiceColumn
from hpcsearch.search.encoding import Mask
from hpcsearch.search.gp import Process, expected_shapes, fit, fit_points
from hpcsearch.search.kernel import LENGTH_BOUNDS, Groups, Kernel, Pairs, Shape

GROUPS = np.array([0, 1, 1])
SHAPE = Shape(np.array([0.4, 1.2]), 1.3, 0.01, 0.3)
NONE = np.empty((0, 3))


def covariance_of(a: Array, b: Array, shape: Shape = SHAPE, groups: Groups = GROUPS) -> Array:
    """By the textbook's formulas."""

    def matern(of: Mask) -> Array:
        r = math.sqrt(5) * np.sqrt((((a[:, None] - b[None]) / shape.lengths[groups])[:, :, of] ** 2).sum(axis=2))
        return np.asarray((1 + r + r**2 / 3) * np.exp(-r))

    alone = np.mean([matern(groups == number) for number in range(len(shape.lengths))], axis=0)
    return np.asarray(shape.signal * ((1 - shape.alone) * matern(groups >= 0) + shape.alone * alone))


def direct(points: Array, targets: Array, candidates: Array) -> tuple[Array, Array]:
    """Mean and standard deviation by the textbook's formulas."""
    inverse = np.linalg.inv(covariance_of(points, points) + SHAPE.noise * np.eye(len(points)))
    across = covariance_of(candidates, points)
    return across @ inverse @ targets, np.sqrt(SHAPE.signal - np.einsum("ij,jk,ik->i", across, inverse, across))


@given(
    lengths=st.lists(st.floats(*LENGTH_BOUNDS), min_size=2, max_size=2),
    alone=st.floats(0.0025, 0.9975),
    seed=st.integers(0, 99),
)
def test_covariances_are_those_of_the_textbook(lengths: list[float], alone: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((7, 3)), np.concatenate([rng.random((3, 3)), np.zeros((1, 3)), np.ones((1, 3))])
    kernel = Kernel(shape := Shape(np.array(lengths), 1.3, 0.01, alone), GROUPS)
    both = kernel.joined(kernel.points(a), kernel.points(b))
    np.testing.assert_allclose(kernel(kernel.points(a), kernel.points(b)), covariance_of(a, b, shape), atol=1e-9)
    expected = covariance_of(a[2:3], np.concatenate([a, b]), shape)[0]
    np.testing.assert_allclose(kernel.with_one(both, 2), expected, atol=1e-9)
    pairs = Pairs(a, GROUPS, 2)
    np.testing.assert_allclose(pairs.covariance(shape)[0], covariance_of(a, a, shape)[pairs.places], atol=1e-9)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_covariances_of_choices_and_of_inactive_ones(size: int) -> None:
    column = ChoiceColumn("kind", [f"k{number}" for number in range(size)])
    features = column.features(np.array([*range(size), math.nan, 0.0]))
    groups, shape = np.zeros(size, np.intp), Shape(np.array([0.7]), 1.3, 0.01, 0.4)
    kernel = Kernel(shape, groups)
    points = kernel.points(features)
    expected = covariance_of(features, features, shape, groups)
    np.testing.assert_allclose(kernel(points, points), expected, atol=1e-9)
    np.testing.assert_allclose(kernel.with_one(points, 1), expected[1], atol=1e-9)


def test_slopes_are_those_of_small_steps() -> None:
    rng = np.random.default_rng(0)
    points, change = rng.random((9, 3)), rng.standard_normal(36)
    pairs, logs = Pairs(points, GROUPS, 2), np.append(np.log(SHAPE.lengths), math.log(0.3 / 0.7))

    def along(logs: Array) -> float:
        shape = Shape(np.exp(logs[:2]), 1.3, 0.01, 1 / (1 + math.exp(-logs[2])))
        return float(change @ pairs.covariance(shape)[0])

    steps = 1e-5 * np.eye(3)
    expected = [(along(logs + step) - along(logs - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(pairs.covariance(SHAPE)[1](change), expected, rtol=1e-5)


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


def test_some_of_the_candidates_are_as_before_and_placed_alike() -> None:
    rng = np.random.default_rng(2)
    points, candidates, pending = rng.random((12, 3)), rng.random((9, 3)), rng.random((4, 3))
    whole = Process(points, GROUPS, rng.standard_normal(12), SHAPE).predict(candidates, pending, room=1)
    which = np.array([5, 0, 8])
    some = whole.some(which)
    whole.place(8)
    some.place(2)
    np.testing.assert_allclose(some.mean, whole.mean[which], atol=1e-9)
    np.testing.assert_allclose(some.spread, whole.spread[which], atol=1e-9)


def test_a_shape_that_is_drawn_near_another_differs_and_keeps_to_the_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn = [Shape(np.array([0.01, 1.0, 30.0]), 1.3, 0.01, 0.3).drawn_near(rng) for _ in range(400)]
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
        shapes.append(fit(features, np.arange(3), targets, expected_shapes(3, True)))
    for shape in shapes:
        assert shape.lengths[0] < 0.5 * shape.lengths[1:].min()
    assert shapes[0].noise < 0.01 < 0.1 < shapes[1].noise < 0.8


def test_a_fit_finds_a_sum_and_goes_by_it_where_nothing_is_known() -> None:
    rng = np.random.default_rng(0)

    def waves(points: Array) -> Array:
        return np.asarray(np.sin(20 * points).sum(axis=1))

    features, groups = rng.random((100, 3)), np.arange(3)
    targets = (waves(features) - waves(features).mean()) / waves(features).std()
    shape = fit(features, groups, targets, expected_shapes(3, True))
    assert shape.alone > 0.8
    elsewhere = rng.random((400, 3))
    found = Process(features, groups, targets, shape).predict(elsewhere, NONE).mean
    assert np.corrcoef(found, waves(elsewhere))[0, 1] > 0.95
    assert fit(features, groups, targets, expected_shapes(3, False)).alone == 0.0


def test_duplicates_without_noise_are_no_trouble() -> None:
    points = np.repeat(np.random.default_rng(0).random((4, 3)), 10, axis=0)
    process = Process(points, GROUPS, np.arange(40.0), Shape(np.full(2, 30.0), 4.0, 0.0, 0.3))
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
