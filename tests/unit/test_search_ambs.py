"""The model-based search."""

from __future__ import annotations

import heapq
import math
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.acquisition import half_rank, learn
from hpcsearch.search.asktell import Search
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.forest import ForestFit
from hpcsearch.search.history import Data


def plane(dimensions: int = 2) -> HpProblem:
    problem = HpProblem()
    for index in range(dimensions):
        problem.add_hyperparameter((0.0, 1.0), f"x{index}")
    return problem


def bowl(configuration: dict[str, Any]) -> float:
    return -sum((value - 0.3) ** 2 for value in configuration.values())


def simulate(search: Search, evaluations: int, workers: int, seed: int) -> float:
    """The best objective after asynchronous evaluations of log-normal durations."""
    rng = np.random.default_rng(seed)
    running: list[tuple[float, int, dict[str, Any]]] = []
    best, now, started = -math.inf, 0.0, 0
    for _ in range(evaluations):
        while len(running) < workers and started < evaluations:
            for configuration in search.ask(1):
                heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), started, configuration))
                started += 1
        now, _, configuration = heapq.heappop(running)
        value = bowl(configuration)
        best = max(best, value)
        search.tell([(configuration, value)])
    return best


def test_it_beats_random_search_with_asynchronous_workers() -> None:
    seeds = range(3)
    ambs = np.mean([simulate(create("ambs", plane(3), seed=s, trees=50), 60, 8, s) for s in seeds])
    random = np.mean([simulate(create("random", plane(3), seed=s), 60, 8, s) for s in range(20)])
    assert ambs > 0.5 * random  # objectives are negative: less than half of random search's regret


def test_the_initial_design_needs_no_scikit_learn() -> None:
    code = """if True:
        import sys
        from hpcsearch.problem import HpProblem
        from hpcsearch.search import create
        problem = HpProblem()
        problem.add_hyperparameter((0.0, 1.0), "x")
        search = create("ambs", problem, seed=0)
        asked = search.ask(8)
        assert "sklearn" not in sys.modules
        search.tell([(c, c["x"]) for c in asked])
        search.ask(1)
        assert "sklearn" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pending_evaluations_spread_the_proposals() -> None:
    """A batch asked at once, with nothing told in between, does not pile up on one point."""
    search = create("ambs", plane(), seed=0, n_initial=20, trees=40)
    search.tell([(configuration, bowl(configuration)) for configuration in search.ask(20)])
    batch = np.array([list(configuration.values()) for configuration in search.ask(16)])
    distances = np.linalg.norm(batch[:, None] - batch[None], axis=2)[~np.eye(16, dtype=bool)]
    assert np.median(distances) > 0.1


def test_pending_points_take_spread_from_their_neighbourhood() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((60, 2))
    model = ForestFit(trees=40)(features, features.sum(axis=1), rng)
    points = np.array([[0.5, 0.5], [0.501, 0.5], [0.95, 0.05]])
    none = np.empty((0, 2))
    free, near = model.predict(points, none), model.predict(points, points[:1])
    assert near.spread[1] < 0.7 * free.spread[1]
    assert near.spread[2] > 0.7 * free.spread[2]
    placed = model.predict(points, none)
    placed.place(0)
    np.testing.assert_allclose(placed.spread, near.spread)
    np.testing.assert_allclose(placed.mean, free.mean)


def test_it_learns_where_evaluations_fail() -> None:
    """The objective rises towards a region where everything fails: hardly any late proposal goes there."""
    search = create("ambs", plane(), seed=0, trees=40)
    late = []
    for round_ in range(60):
        (configuration,) = search.ask(1)
        fails = configuration["x0"] > 0.6
        search.tell([(configuration, None if fails else configuration["x0"])])
        late += [fails] if round_ >= 30 else []
    assert np.mean(late) < 0.35


def test_it_goes_on_when_everything_fails() -> None:
    search = create("ambs", plane(), seed=0, trees=10)
    for _ in range(30):
        (configuration,) = search.ask(1)
        search.tell([(configuration, None)])


def test_equal_and_huge_objectives_are_no_trouble() -> None:
    for value in (0.0, 1e300, -1e-300):
        search = create("ambs", plane(), seed=0, trees=10)
        for _ in range(14):
            (configuration,) = search.ask(1)
            search.tell([(configuration, value)])


def test_half_rank_keeps_the_order_and_tames_the_bad_ones() -> None:
    values = np.array([-1e12, -5.0, 1.0, 2.0, 3.0, 2.0, 4.0])
    warped = half_rank(values)
    assert (np.argsort(warped, kind="stable") == np.argsort(values, kind="stable")).all()
    assert warped.std() == pytest.approx(1.0)
    assert warped.min() > -4.0
    assert warped[3] == warped[5]
    assert (half_rank(np.full(4, 7.0)) == 0.0).all()


def test_a_fit_takes_no_more_points_than_it_may() -> None:
    sizes = []

    def spy(features: Any, objectives: Any, rng: Any) -> Any:
        sizes.append(len(features))

    encoding = Encoding(plane().space)
    rng = np.random.default_rng(0)
    objectives = rng.random(500)
    objectives[::5] = np.nan
    learned = learn(encoding, Data(rng.random((500, 2)), objectives), spy, 100, rng)
    assert sizes == [100, 100]
    assert learned.told == 500


def test_in_the_background_asks_do_not_wait_for_the_fit() -> None:
    search = create("ambs", plane(6), seed=0, background=True, trees=100)
    rng = np.random.default_rng(0)
    known = [{f"x{i}": float(value) for i, value in enumerate(row)} for row in rng.random((2000, 6))]
    search.tell([(configuration, bowl(configuration)) for configuration in known])
    background = search.strategy._background  # type: ignore[attr-defined]
    background._thread.join()
    assert search.strategy._learned is not None  # type: ignore[attr-defined]
    slowest, seen = [], set()
    for _ in range(20):
        start = time.perf_counter()
        asked = search.ask(1)
        search.tell([(configuration, bowl(configuration)) for configuration in asked])
        slowest.append(time.perf_counter() - start)
        seen |= {tuple(configuration.values()) for configuration in asked}
        time.sleep(0.005)
    background._thread.join()
    assert len(seen) == 20
    assert np.median(slowest) < 0.05  # a fit alone takes several times as long


def test_in_the_background_the_model_comes_to_be_used() -> None:
    search = create("ambs", plane(3), seed=0, background=True, trees=30)
    background = search.strategy._background  # type: ignore[attr-defined]
    best = -math.inf
    for _ in range(60):
        for configuration in search.ask(1):
            best = max(best, bowl(configuration))
            search.tell([(configuration, bowl(configuration))])
        if background._thread is not None:
            background._thread.join()
    assert search.strategy._learned is not None  # type: ignore[attr-defined]
    assert best > -0.01


def test_what_fails_in_the_background_comes_out_of_the_next_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("no fit")

    monkeypatch.setattr("hpcsearch.search.ambs.learn", broken)
    search = create("ambs", plane(), seed=0, background=True)
    search.tell([(configuration, 1.0) for configuration in search.ask(8)])
    search.strategy._background._thread.join()  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="no fit"):
        search.ask(1)
