"""The model-based search."""

from __future__ import annotations

import heapq
import json
import math
import threading
from typing import Any

import ConfigSpace as cs
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hpcsearch.problem import HpProblem
from hpcsearch.search import acquisition, create
from hpcsearch.search.ambs import AmbsSearch
from hpcsearch.search.asktell import Search
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.gp import Process
from hpcsearch.search.history import Data
from hpcsearch.search.kernel import Shape
from hpcsearch.search.model import Learner
from hpcsearch.search.warp import half_rank, winsorised


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


def test_it_is_far_better_than_random_search_with_asynchronous_workers() -> None:
    seeds = range(4)
    ambs = np.mean([simulate(create("ambs", plane(3), seed=s), 60, 8, s) for s in seeds])
    random = np.mean([simulate(create("random", plane(3), seed=s), 60, 8, s) for s in range(20)])
    assert ambs > 0.05 * random  # objectives are negative: less than a twentieth of random search's regret


def branches() -> HpProblem:
    """One branch has a range that the other lacks, and a corner is forbidden."""
    problem = HpProblem()
    kind = problem.add_hyperparameter(["flat", "hill", "dale"], "kind")
    x = problem.add_hyperparameter((0.0, 1.0), "x")
    problem.add_hyperparameter((1, 100, "log-uniform"), "n")
    problem.add_hyperparameter(5, "constant")
    problem.add_condition(cs.EqualsCondition(x, kind, "hill"))
    problem.add_forbidden_clause(cs.ForbiddenLessThanEqualsClause(x, 0.2))
    return problem


def worth(configuration: dict[str, Any]) -> float:
    return 1.0 - (configuration["x"] - 0.3) ** 2 if configuration["kind"] == "hill" else 0.1 * configuration["n"] / 100


def test_it_finds_the_branch_and_the_place_in_it() -> None:
    best = []
    for seed in range(3):
        search, found = create("ambs", branches(), seed=seed), -math.inf
        for _ in range(20):
            asked = search.ask(2)
            for configuration in asked:
                branches().check(configuration)
            found = max(found, *map(worth, asked))
            search.tell([(configuration, worth(configuration)) for configuration in asked])
        best.append(found)
    assert np.mean(best) > 0.9999  # random search: 0.997


def test_the_same_seed_gives_the_same_search_with_one_worker() -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        search, asked = create("ambs", branches(), seed=seed), []
        for _ in range(30):
            (configuration,) = search.ask(1)
            asked.append(configuration)
            search.tell([(configuration, None if configuration["n"] > 50 else worth(configuration))])
        return asked

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_pending_evaluations_spread_the_proposals() -> None:
    """Where nothing speaks for one place or another, a batch asked at once covers them all."""
    search = create("ambs", plane(), seed=0)
    search.tell([(configuration, 1.0) for configuration in search.ask(8)])
    batch = np.array([list(configuration.values()) for configuration in search.ask(16)])
    distances = np.linalg.norm(batch[:, None] - batch[None], axis=2) + 9.0 * np.eye(16)
    assert np.median(distances.min(axis=1)) > 0.015


def test_hundreds_are_asked_at_once_and_are_all_different() -> None:
    search = create("ambs", branches(), seed=0, n_candidates=200)
    search.tell([(configuration, worth(configuration)) for configuration in search.ask(10)])
    asked = search.ask(300)
    assert len({json.dumps(configuration) for configuration in asked}) == 300


def test_it_learns_where_evaluations_fail() -> None:
    """The objective rises towards a region where everything fails: most late proposals keep to its border."""
    search = create("ambs", plane(), seed=0)
    late = []
    for _ in range(60):
        (configuration,) = search.ask(1)
        fails = configuration["x0"] > 0.6
        search.tell([(configuration, None if fails else configuration["x0"])])
        late.append(configuration["x0"])
    assert np.mean(np.array(late[30:]) > 0.7) < 0.5
    assert np.mean(np.array(late[30:]) > 0.5) > 0.7


def test_it_goes_on_when_everything_fails() -> None:
    search = create("ambs", branches(), seed=0)
    for _ in range(30):
        (configuration,) = search.ask(1)
        search.tell([(configuration, None if len(configuration) > 3 else math.nan)])


@pytest.mark.parametrize("value", [0.0, 1e300, -1.7e308, -1e-300, 5e-324])
def test_equal_and_extreme_objectives_are_no_trouble(value: float) -> None:
    for spread in (0.0, 1.0):
        search = create("ambs", plane(), seed=0)
        for number in range(16):
            (configuration,) = search.ask(1)
            search.tell([(configuration, value * (1.0 - spread * number / 8))])


def test_a_constant_and_a_single_choice_leave_one_point() -> None:
    problem = HpProblem()
    problem.add_hyperparameter(7, "constant")
    problem.add_hyperparameter(["only"], "choice")
    search = create("ambs", problem, seed=0, n_initial=1)
    assert search.ask(5) == [{"choice": "only", "constant": 7}]
    search.tell([({"choice": "only", "constant": 7}, 1.0)])
    assert search.exhausted and search.ask(1) == []


def test_a_tiny_space_is_gone_through_with_a_model() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((1, 6), "n")
    problem.add_hyperparameter([True, False], "flag")
    search, seen = create("ambs", problem, seed=0, n_initial=3), set()
    while not search.exhausted:
        (configuration,) = search.ask(1)
        seen.add(tuple(configuration.values()))
        search.tell([(configuration, float(configuration["n"]) if configuration["flag"] else None)])
    assert len(seen) == 12


@pytest.mark.parametrize("warp", [half_rank, winsorised])
def test_warps_keep_the_order_and_tame_the_bad_ones(warp: Any) -> None:
    values = np.array([-1e12, -5.0, 1.0, 2.0, 3.0, 2.0, 4.0])
    warped = warp(values)
    assert (np.argsort(warped, kind="stable") == np.argsort(values, kind="stable")).all()
    assert (warped.mean(), warped.std()) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))
    assert warped.min() > -4.0
    assert warped[3] == warped[5]
    assert (warp(np.full(4, 7.0)) == 0.0).all()
    most_are_best = warp(np.array([1.0, 0.2, 1.0, 0.3, 1.0]))
    assert most_are_best[1] <= most_are_best[3] < most_are_best[0] == most_are_best[4]
    assert np.isfinite(warp(np.array([-1.7e308, 1.7e308, 0.0, 1e300]))).all()
    assert np.isfinite(warp(np.array([-1.7e308, 0.0, 5e-324]))).all()


def test_a_model_rests_on_no_more_points_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Spy(Process):
        def __init__(self, features: Any, *rest: Any) -> None:
            sizes.append(len(features))
            super().__init__(features, *rest)

    monkeypatch.setattr("hpcsearch.search.model.Process", Spy)
    rng = np.random.default_rng(0)
    objectives = rng.random(500)
    objectives[::5] = np.nan
    data = Data(rng.random((500, 2)), objectives, 500)
    learned = Learner(Encoding(plane().space), 100).learn(data, rng)
    assert sizes == [100, 100]
    assert learned.told == 500
    succeeded = {row.tobytes() for row in data.rows[~data.failed]}
    assert {row.tobytes() for row in learned.best} <= succeeded


def test_the_objective_may_be_a_sum_and_where_evaluations_fail_is_none() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((60, 2))
    objectives = np.where(rows.sum(axis=1) > 1.5, np.nan, np.sin(15 * rows).sum(axis=1))
    learned = Learner(Encoding(plane().space), 100).learn(Data(rows, objectives, 60), rng)
    assert learned.objective is not None and learned.objective.shape.alone > 0.5
    assert learned.success is not None and learned.success.shape.alone == 0.0


def test_how_much_the_chance_to_fail_is_heeded_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, encoding = np.random.default_rng(0), Encoding(plane().space)
    rows = rng.random((60, 2))
    learned = Learner(encoding, 100).learn(Data(rows, np.where(rows[:, 0] > 0.6, np.nan, rows[:, 0]), 60), rng)
    assert learned.objective is not None
    monkeypatch.setattr(acquisition, "_log_worth", lambda *_: np.array([0.0, 1.0]))
    chosen = [
        acquisition._choose(
            acquisition._Field(rows[:2], np.array([0.0, -2.0]), learned.objective.predict(rows[:2], rows[:0], 1)),
            learned,
            encoding,
            [],
            1,
            1.0,
            rng,
        )
        for _ in range(200)
    ]
    assert 60 < chosen.count([1]) < 140  # it is worth more by 1, but likely to fail, which counts for up to 2


@pytest.mark.parametrize(("least", "kept"), [(4, 20), (30, 30), (64, 40)])
def test_the_candidates_with_the_greatest_bounds_are_kept(least: int, kept: int) -> None:
    rng = np.random.default_rng(0)
    points, rows = rng.random((8, 2)), rng.random((40, 2))
    prediction = Process(
        points, np.arange(2), rng.standard_normal(8), Shape(np.array([0.3, 0.6]), 1.0, 1e-3, 0.3)
    ).predict(rows, rows[:0], 1)
    bound = prediction.mean + 2.0 * prediction.spread
    field = acquisition._hopeful(acquisition._Field(rows, np.zeros(40), prediction), -9.0, 1.0, least)
    np.testing.assert_array_equal(field.rows, rows[np.argsort(-bound)[:kept]])
    assert field.prediction is not None and len(field.prediction.mean) == kept


def test_in_the_background_asks_do_not_wait_for_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    search = create("ambs", plane(6), seed=0, background=True)
    rng = np.random.default_rng(0)
    known = [{f"x{i}": float(value) for i, value in enumerate(row)} for row in rng.random((300, 6))]
    search.tell([(configuration, bowl(configuration)) for configuration in known])
    background = search.strategy._background  # type: ignore[attr-defined]
    background._thread.join()
    model = search.strategy._learned  # type: ignore[attr-defined]
    assert model is not None
    held, learn = threading.Event(), Learner.learn

    def slow(*arguments: Any) -> Any:
        assert held.wait(60.0)
        return learn(*arguments)

    monkeypatch.setattr(Learner, "learn", slow)
    seen = set()
    for _ in range(20):  # far more than are ready
        asked = search.ask(1)
        search.tell([(configuration, bowl(configuration)) for configuration in asked])
        seen |= {tuple(configuration.values()) for configuration in asked}
    assert background._thread.is_alive()
    assert search.strategy._learned is model  # type: ignore[attr-defined]
    assert len(seen) == 20
    held.set()
    background._thread.join()
    assert search.strategy._learned.told >= 303  # type: ignore[attr-defined]


def test_in_the_background_enough_is_made_ready_until_the_next_model() -> None:
    search = create("ambs", plane(2), seed=0, background=True)
    search.tell([(configuration, bowl(configuration)) for configuration in create("random", plane(2)).ask(600)])
    strategy: Any = search.strategy
    background = strategy._background
    background._thread.join()
    assert len(background._ready) == strategy.lifetime == 6
    asked = search.ask(4)
    background._thread.join()
    search.tell([(configuration, bowl(configuration)) for configuration in asked])
    assert not strategy.stale
    assert len(background._ready) == 2
    more = search.ask(2)
    background._thread.join()
    search.tell([(configuration, bowl(configuration)) for configuration in more])
    background._thread.join()
    assert strategy._learned.told == 606


def test_in_the_background_as_many_are_made_ready_as_are_usually_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    search = create("ambs", plane(2), seed=0, background=True)
    strategy: Any = search.strategy
    search.tell([(configuration, bowl(configuration)) for configuration in create("random", plane(2)).ask(100)])
    hasty: list[int] = []

    def spy(n: int, rng: np.random.Generator) -> Any:
        hasty.append(n)
        return AmbsSearch.hasty_proposals(strategy, n, rng)

    monkeypatch.setattr(strategy, "hasty_proposals", spy)
    for number in range(4):
        asked = search.ask(12)
        assert len(asked) == 12
        strategy._background.join()  # nothing is left, so more is made ready at once, and anew with these results
        search.tell([(configuration, bowl(configuration)) for configuration in asked])
        strategy._background.join()
        assert number == 0 or not hasty
        hasty.clear()


def test_a_fit_in_the_call_does_not_take_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [pool["num_threads"] for pool in threadpool_info()]
    during: list[int] = []
    learn = Learner.learn

    def spy(*arguments: Any) -> Any:
        during.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return learn(*arguments)

    monkeypatch.setattr(Learner, "learn", spy)
    search = create("ambs", plane(), seed=0)
    search.tell([(configuration, bowl(configuration)) for configuration in search.ask(8)])
    search.ask(1)
    assert during and set(during) == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_every_configuration_of_a_small_space_is_a_candidate() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((1, 9), "n")
    problem.add_hyperparameter(list("abcdefg"), "k")
    search = create("ambs", problem, seed=0, n_candidates=32)
    assert len(search.strategy._choice.whole) == 63  # type: ignore[attr-defined]
    for _ in range(40):
        search.tell([(one, one["n"] - 3.0 * (one["k"] != "e")) for one in search.ask(1)])
    assert {"n": 9, "k": "e"} not in search.ask(23)  # it was among the first forty
    assert search.exhausted
    assert create("ambs", plane(), seed=0).strategy._choice.whole is None  # type: ignore[attr-defined]


def test_in_the_background_the_model_comes_to_be_used() -> None:
    search = create("ambs", plane(3), seed=0, background=True)
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

    monkeypatch.setattr("hpcsearch.search.model.Learner.learn", broken)
    search = create("ambs", plane(), seed=0, background=True)
    search.tell([(configuration, 1.0) for configuration in search.ask(8)])
    search.strategy._background._thread.join()  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="no fit"):
        search.ask(1)


def test_a_resumed_search_rests_its_first_proposals_on_what_is_known() -> None:
    search = create("ambs", plane(2), seed=0, background=True)
    search.tell([(configuration, bowl(configuration)) for configuration in create("random", plane(2), seed=1).ask(60)])
    asked = search.ask(12)
    assert len(asked) == 12
    assert sum(bowl(configuration) > -0.02 for configuration in asked) >= 6  # of random ones a twentieth are
