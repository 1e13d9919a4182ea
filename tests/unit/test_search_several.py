"""Several objectives: what strategies are told of them, and how the model-based search goes by all."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.history import History
from hpcsearch.search.registry import objectives_of
from hpcsearch.search.scalar import drawn_weights, scalarised, unbeaten
from hpcsearch.search.server import Server
from hpcsearch.search.values import Values
from hpcsearch.workflow.results.pareto import beats

Points = list[tuple[int, int, int]]

points = st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=1, max_size=25)


def plane(minimize: bool = False) -> HpProblem:
    problem = HpProblem(minimize=minimize)
    for index in range(2):
        problem.add_hyperparameter((0.0, 1.0), f"x{index}")
    return problem


# --- scalars ----------------------------------------------------------------------------------------------------------


@given(points, st.integers(0, 1000))
def test_what_beats_another_has_the_greater_scalar(given: Points, seed: int) -> None:
    scalars = scalarised(np.array(given, float), drawn_weights(3, np.random.default_rng(seed)))
    for (one, first), (other, second) in itertools.permutations(zip(given, scalars, strict=True), 2):
        assert not beats(one, other) or first > second
        assert one != other or first == second


@given(points)
def test_what_is_unbeaten_is_what_nothing_beats(given: Points) -> None:
    assert unbeaten(np.array(given)).tolist() == [not any(beats(other, one) for other in given) for one in given]


@given(points, st.lists(st.floats(0.01, 100.0), min_size=3, max_size=3), st.integers(0, 1000))
def test_units_of_objectives_do_not_matter(given: Points, units: list[float], seed: int) -> None:
    values, weights = np.array(given, float), drawn_weights(3, np.random.default_rng(seed))
    assert scalarised(values * units + 7.0, weights) == pytest.approx(scalarised(values, weights), abs=1e-6)


def test_the_parts_of_a_concave_front_are_the_best_for_some_weights() -> None:
    angles = np.linspace(0.0, math.pi / 2, 9)
    front = -np.column_stack([np.cos(angles), np.sin(angles)])  # a sum of the two has its best at the ends alone
    rng = np.random.default_rng(0)
    found = {int(np.argmax(scalarised(front, drawn_weights(2, rng)))) for _ in range(300)}
    assert {0, *range(2, 7), 8} <= found  # the augmentation passes over what is next to an end


def test_failures_have_no_scalar_and_what_is_not_known_counts_as_the_median() -> None:
    nan = math.nan
    values = np.array([[0.0, 4.0], [nan, nan], [2.0, 0.0], [1.0, nan], [1.0, 2.0]])
    scalars = scalarised(values, np.array([0.5, 0.5]))
    assert np.isnan(scalars).tolist() == [False, True, False, False, False]
    assert scalars[3] == scalars[4]
    assert np.isnan(scalarised(values[1:2], np.array([0.5, 0.5]))).all()


def test_one_that_went_astray_leaves_the_others_apart() -> None:
    values = np.array([[0.0, 1.0], [0.5, 0.6], [1.0, 0.0], [0.3, 0.2], [-1e9, -1e9]])
    scalars = scalarised(values, np.array([0.5, 0.5]))
    assert np.ptp(scalars[:4]) > 0.1
    assert np.argmin(scalars) == 4


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e300, 1.7e308])
def test_equal_and_extreme_objectives_have_finite_scalars(value: float) -> None:
    values = np.array([[value, -value], [-value, value], [0.0, 0.0], [value, 1.0]])
    assert np.isfinite(scalarised(values, np.array([0.3, 0.7]))).all()


# --- what is told -----------------------------------------------------------------------------------------------------


def test_objectives_come_in_the_order_and_sense_of_the_first_that_had_several() -> None:
    values = Values(minimize=True, several=True)
    assert values.of(3.0) == -3.0
    assert values.of({"only": 3.0}) == -3.0
    assert values.of({"loss": 1.0, "accuracy:max": 2.0, "seconds": 3.0}) == (-1.0, 2.0, -3.0)
    assert values.of({"seconds": 6.0, "accuracy:max": 5.0, "more": 9.0, "loss": 4.0}) == (-4.0, 5.0, -6.0)


def test_of_others_than_the_first_had_only_the_first_counts() -> None:
    values = Values(minimize=True, several=True)
    assert values.of({"loss": 1.0, "accuracy:max": 2.0}) == (-1.0, 2.0)
    assert values.of({"accuracy:max": 2.0, "loss": 1.5}) == (-1.5, 2.0)
    assert values.of({"seconds": 3.0, "loss": 1.0}) == -1.0
    assert values.of({"seconds": 3.0, "cost": 4.0}) == -3.0
    assert values.of(7.0) == -7.0


def test_a_sequence_is_taken_by_its_order() -> None:
    values = Values(minimize=False, several=True)
    assert values.of([1.0, 2.0]) == (1.0, 2.0)
    assert values.of(np.array([3.0, 4.0])) == (3.0, 4.0)
    assert values.of((5.0,)) == values.of(np.array(5.0)) == values.of(np.float32(5.0)) == 5.0


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("several", [True, False])
def test_one_that_is_not_finite_is_a_failure_of_all(bad: float, several: bool) -> None:
    values = Values(minimize=False, several=several)
    assert values.of({"a": 1.0, "b": bad}) is None
    assert values.of([bad, 1.0]) is None
    assert values.of({}) is None


class Told:
    """A strategy that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def ask(self, n: int) -> list[dict[str, Any]]:
        return []

    def pending(self, configurations: Any) -> None: ...

    def tell(self, results: Any) -> None:
        self.told += [value for _, value in results]


class ToldAll(Told):
    objectives = "several"


def search_of(strategy: Told, minimize: bool = False) -> Search:
    setting = create("random", plane(minimize), seed=0)._setting
    return Search(strategy, setting, 0)


def test_a_strategy_is_told_what_it_says_that_it_takes() -> None:
    for strategy, expected in ((Told(), [1.0, None]), (ToldAll(), [(1.0, -2.0), None])):
        search = search_of(strategy)
        first, second = search.ask(2)
        search.tell([(first, {"a": 1.0, "b:min": 2.0}), (second, {"a": 1.0, "b:min": None})])
        assert strategy.told == expected


def test_what_was_stopped_is_told_by_a_bound_on_its_first_objective() -> None:
    strategy = ToldAll()
    search = search_of(strategy)
    asked = search.ask(5)
    search.tell([(one, {"a": value, "b": 0.0}) for one, value in zip(asked, (1.0, 2.0, 3.0), strict=False)])
    search.tell_stopped([(asked[3], {"a": 9.0, "b": 9.0}), (asked[4], 0.5)])
    assert strategy.told[3:] == [2.0, 0.5]


REMEMBERING = """
import json

class Remembering:
    objectives = "several"

    def __init__(self, setting):
        pass

    def ask(self, n):
        return []

    def pending(self, configurations):
        pass

    def tell(self, results):
        with open("told.json", "a") as file:
            print(json.dumps(results), file=file)
"""


def test_the_driver_s_messages_carry_all_objectives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problem.py").write_text(
        'from hpcsearch import HpProblem\nProblem = HpProblem()\nProblem.add_hyperparameter((0.0, 1.0), "x")\n'
    )
    (tmp_path / "remembering.py").write_text(REMEMBERING)
    server = Server()
    search = "remembering.py:Remembering"
    server.handle({"op": "start", "problem": "problem.py", "cwd": str(tmp_path), "search": search})
    results = [[{"x": 0.1}, {"a": 1.0, "b:min": 2.0}, False], [{"x": 0.2}, None, False], [{"x": 0.3}, 0.5, True]]
    server.handle({"op": "tell", "results": results})
    ended, stopped = (json.loads(line) for line in (tmp_path / "told.json").read_text().splitlines())
    assert ended == [[{"x": 0.1}, [1.0, -2.0]], [{"x": 0.2}, None]]
    assert stopped == [[{"x": 0.3}, 0.5]]


def test_strategies_say_which_objectives_they_go_by() -> None:
    names = ("ambs", "random", "sobol", "grid", "list", "de", "cmaes", "regevo", "optuna")
    said = {name: objectives_of(name, "") for name in names}
    assert said == {
        "ambs": "several",
        **dict.fromkeys(("random", "sobol", "grid", "list"), "any"),
        **dict.fromkeys(("de", "cmaes", "regevo", "optuna"), "first"),
    }


# --- the history ------------------------------------------------------------------------------------------------------


def test_a_history_grows_with_the_objectives() -> None:
    history = History(Encoding(plane().space))
    rows = [{"x0": number / 200, "x1": 0.5} for number in range(150)]
    history.tell([(row, 1.0) for row in rows[:3]])
    assert history.data().several is None
    history.tell([(row, (float(number), -1.0)) for number, row in enumerate(rows[3:], start=3)])
    history.add_pending([{"x0": 0.9, "x1": 0.9}])
    history.note([({"x0": 0.9, "x1": 0.9}, 4.5)])
    data = history.data()
    assert data.several is not None and data.several.shape == (151, 2)
    assert data.objectives.tolist() == [1.0, 1.0, 1.0, *range(3, 150), 4.5]
    assert np.isnan(data.several[:3, 1]).all() and (data.several[3:150, 1] == -1.0).all()
    assert np.isnan(data.several[150, 1]) and data.told == 150


# --- the model-based search -------------------------------------------------------------------------------------------


def run(told: Callable[[dict[str, Any]], Any], name: str = "ambs", seed: int = 1, minimize: bool = False) -> Any:
    search, asked = create(name, plane(minimize), seed=seed), []
    for _ in range(30):
        (configuration,) = search.ask(1)
        asked.append(configuration)
        search.tell([(configuration, told(configuration))])
    return asked


def bowl(configuration: dict[str, Any], middle: float = 0.3) -> float:
    return -sum((value - middle) ** 2 for value in configuration.values())


def test_one_objective_is_searched_for_in_the_same_way_whatever_its_form() -> None:
    plain = run(bowl)
    assert run(lambda one: {"a": bowl(one)}) == plain
    assert run(lambda one: [bowl(one)]) == plain
    assert run(lambda one: {"a": bowl(one), "b": one["x0"]}) != plain


@pytest.mark.parametrize("name", ["de", "regevo", "cmaes", "random"])
def test_other_strategies_are_not_changed_by_a_second_objective(name: str) -> None:
    assert run(lambda one: {"a": bowl(one), "b": one["x0"]}, name) == run(bowl, name)


def test_the_whole_front_is_found_and_both_senses_are_kept() -> None:
    """What is best for one objective lies at 0.2, for the other at 0.8, and the front on the line between them."""
    asked = run(lambda one: {"near": -bowl(one, 0.2), "far:max": bowl(one, 0.8)}, minimize=True)
    late = np.array([[one["x0"], one["x1"]] for one in asked[15:]])
    assert np.median(np.abs(late[:, 0] - late[:, 1])) < 0.1
    assert late.mean(axis=1).min() < 0.35 and late.mean(axis=1).max() > 0.65


def test_it_outlives_objectives_that_change_their_names() -> None:
    names = itertools.cycle([("a", "b"), ("a",), ("b", "c"), ("a", "b", "c"), ()])

    def told(one: dict[str, Any]) -> Any:
        return {name: bowl(one, 0.2 * place) for place, name in enumerate(next(names))} or bowl(one)

    assert len(run(told)) == 30


def test_a_search_that_goes_on_learns_all_objectives_again() -> None:
    known = [(one, {"a": bowl(one), "b": one["x0"]}) for one in create("random", plane(), seed=0).ask(40)]
    searches = [create("ambs", plane(), seed=0) for _ in range(2)]
    searches[0].tell(known)
    for pair in known:
        searches[1].tell([pair])
    first, second = ([tuple(one.values()) for one in search.ask(5)] for search in searches)
    assert first == second
