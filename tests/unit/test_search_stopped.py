"""What a strategy is told of evaluations that were stopped early."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpcsearch import HpProblem
from hpcsearch.evaluation import Configuration
from hpcsearch.search.asktell import Search
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.registry import create
from hpcsearch.search.server import Server
from hpcsearch.search.stopped import Bounds

VALUES = st.floats(-50.0, 50.0)


@given(st.lists(VALUES, max_size=20), VALUES)
def test_a_stopped_one_is_never_better_than_the_median_of_the_finished(finished: list[float], last: float) -> None:
    bounds = Bounds()
    bounds.finished([({"x": index}, value) for index, value in enumerate(finished)])
    ((_, told),) = bounds.of([({"x": -1}, last)])
    assert told == (min(last, statistics.median_low(finished)) if finished else last)


def test_one_without_a_value_waits_for_a_measure() -> None:
    bounds = Bounds()
    assert bounds.of([({"x": 1}, None)]) == []
    bounds.finished([({"x": 2}, None)])  # a failure is no measure
    assert bounds.released() == []
    bounds.finished([({"x": value}, float(value)) for value in range(8)])
    assert bounds.released() == [({"x": 1}, 1.0)]
    assert bounds.released() == []
    assert bounds.of([({"x": 3}, None)]) == [({"x": 3}, 1.0)]


class Listening:
    """A strategy that keeps what it is told."""

    def __init__(self, setting: Setting) -> None:
        self.told: list[Outcome] = []

    def ask(self, n: int) -> Sequence[Configuration]:
        return []

    def pending(self, configurations: Sequence[Configuration]) -> None:
        pass

    def tell(self, results: Sequence[Outcome]) -> None:
        self.told += results


def listening(minimize: bool) -> tuple[Search, Listening]:
    problem = HpProblem(minimize=minimize)
    problem.add_hyperparameter((0, 100), "x")
    search = create("random", problem, seed=0)
    strategy = Listening(search._setting)
    search.strategy = strategy
    return search, strategy


def test_a_search_tells_bounds_in_its_own_sense() -> None:
    search, strategy = listening(minimize=True)
    search.tell([({"x": 1}, 1.0), ({"x": 2}, 3.0)])
    search.tell_stopped([({"x": 3}, 2.0), ({"x": 4}, 9.0), ({"x": 1}, 9.0)])
    # Greater is better now; the lower median of the finished is -3. What was told before is passed over.
    assert strategy.told == [({"x": 1}, -1.0), ({"x": 2}, -3.0), ({"x": 3}, -3.0), ({"x": 4}, -9.0)]


def test_what_was_stopped_is_not_proposed_again() -> None:
    problem = HpProblem()
    problem.add_hyperparameter([1, 2, 3], "x")
    for strategy in ("random", "ambs"):
        search = create(strategy, problem, seed=0)
        search.tell_stopped([({"x": 1}, None)])
        search.tell_stopped([({"x": 2}, 0.5)])
        assert search.ask(3) == [{"x": 3}]


def test_ambs_learns_from_those_that_run_and_forgets_it_when_they_are_told() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((0.0, 1.0), "x")
    search = create("ambs", problem, seed=0, n_initial=2)
    first, second, third = search.ask(3)
    search.tell([(first, 1.0)])
    history = search.strategy._history  # type: ignore[attr-defined]
    search.progress([(second, 2.0), (third, 3.0), (second, 4.0), (first, 9.0), ({"x": 0.123}, 9.0)])
    data = history.data()
    assert data.told == 1 and data.objectives.tolist() == [1.0, 4.0, 3.0]
    search.tell_stopped([(third, 5.0)])
    search.tell([(second, None)])
    data = history.data()
    assert data.told == 3 and data.objectives.tolist()[:2] == [1.0, 1.0] and bool(data.failed[2])
    assert len(search.ask(2)) == 2


def test_a_strategy_that_does_not_watch_is_told_nothing_on_the_way() -> None:
    search, strategy = listening(minimize=False)
    search.pending([{"x": 1}])
    search.progress([({"x": 1}, 1.0)])
    assert strategy.told == []


def test_the_server_passes_progress_on() -> None:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((0, 100), "x")
    server = Server()
    server._search = create("ambs", problem, seed=0)
    server.handle({"op": "pending", "configurations": [{"x": 1}]})
    assert server.handle({"op": "progress", "results": [[{"x": 1}, 2.0]]}) is None
    assert server._search.strategy._history.data().objectives.tolist() == [-2.0]  # type: ignore[attr-defined]


def test_the_server_tells_the_stopped_apart() -> None:
    search, strategy = listening(minimize=False)
    server = Server()
    server._search = search
    results: list[list[Any]] = [[{"x": 1}, 5.0, True], [{"x": 2}, 1.0, False], [{"x": 3}, None, False], [{"x": 4}, 2.0]]
    assert server.handle({"op": "tell", "results": results}) is None
    assert {one["x"]: value for one, value in strategy.told} == {2: 1.0, 3: None, 4: 2.0, 1: 1.0}
