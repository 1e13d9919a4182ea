"""Grid search: every combination once, in a fixed order, at any size."""

from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from typing import Any

import ConfigSpace as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.errors import SearchError
from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search


def problem(**spaces: Any) -> HpProblem:
    made = HpProblem()
    for name, space in spaces.items():
        made.add_hyperparameter(space, name)
    return made


def everything(search: Search, at_once: int = 100) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not search.exhausted:
        found += search.ask(at_once)
    return found


def frozen(configurations: list[dict[str, Any]]) -> list[tuple[tuple[str, Any], ...]]:
    return [tuple(sorted(configuration.items())) for configuration in configurations]


def test_all_combinations_of_all_kinds() -> None:
    made = problem(lr=(1e-4, 1.0, "log-uniform"), x=(0.0, 1.0), units=[8, 16], kind=["a", "b", "c"], seed=7)
    search = create("grid", made, points="3")
    found = everything(search)
    expected = itertools.product([1e-4, 1e-2, 1.0], [0.0, 0.5, 1.0], [8, 16], ["a", "b", "c"], [7])
    names = ("lr", "x", "units", "kind", "seed")
    assert sorted(frozen(found)) == sorted(tuple(sorted(zip(names, point, strict=True))) for point in expected)
    assert search.planned == len(found) == 54


@pytest.mark.parametrize(
    ("space", "points", "values"),
    [
        ((1, 5), 10, [1, 2, 3, 4, 5]),
        ((1, 100), 4, [1, 34, 67, 100]),
        ((1, 1000, "log-uniform"), 4, [1, 10, 100, 1000]),
        ((1, 4, "log-uniform"), 4, [1, 2, 3, 4]),
        ((1, 20, "log-uniform"), 12, None),
        ((0.1, 0.7), 7, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ((0.0, 10.0), 1, [5.0]),
    ],
)
def test_points_lie_evenly_on_the_scale_of_the_range(space: Any, points: int, values: list[float] | None) -> None:
    found = [configuration["x"] for configuration in everything(create("grid", problem(x=space), points=points))]
    assert len(set(found)) == len(found) and found == sorted(found)
    assert (found[0], found[-1]) == space[:2] or points == 1
    assert all(type(value) is type(space[0]) for value in found)
    assert values is None or found == values


def test_points_of_single_ranges_go_before_those_of_all() -> None:
    search = create("grid", problem(a=(0.0, 1.0), b=(0.0, 1.0), c=(1, 50)), points="4", points_of="a:2, c:5")
    found = everything(search)
    assert [len({one[name] for one in found}) for name in "abc"] == [2, 4, 5]
    assert search.planned == len(found) == 40


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({}, "a, b", "points=10"),
        ({"points_of": "a:3"}, "of b", "points_of"),
        ({"points": "0"}, "0 points", "from 1"),
        ({"points": "5", "points_of": "a"}, "'a'", "NAME:5"),
        ({"points": "5", "points_of": "bb:3"}, "'bb'", "'b'"),
        ({"points": "5", "points_of": "kind:3"}, "'kind' lists its values", "Leave"),
        ({"points": "many"}, "points=many", "int or none"),
        ({"step": "1"}, "no argument 'step'", "points=none, points_of=''"),
    ],
)
def test_what_makes_no_grid(arguments: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(SearchError) as caught:
        create("grid", problem(a=(0.0, 1.0), b=(1, 9), kind=["x", "y"]), **arguments)
    assert message in caught.value.message
    assert hint in caught.value.hint


def conditional() -> HpProblem:
    made = HpProblem()
    model = made.add_hyperparameter(["tree", "net", "none"], "model")
    depth = made.add_hyperparameter((1, 30), "depth")
    rate = made.add_hyperparameter((1e-3, 1.0, "log-uniform"), "rate")
    decay = made.add_hyperparameter([True, False], "decay")
    by = made.add_hyperparameter((0.0, 1.0), "by")
    made.add_conditions([cs.EqualsCondition(depth, model, "tree"), cs.EqualsCondition(rate, model, "net")])
    made.add_condition(cs.EqualsCondition(decay, model, "net"))
    made.add_condition(cs.EqualsCondition(by, decay, True))
    made.add_forbidden_clause(
        cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(model, "tree"), cs.ForbiddenEqualsClause(depth, 1))
    )
    return made


def test_each_active_combination_comes_once_and_nothing_that_is_forbidden() -> None:
    made = conditional()
    search = create("grid", made, points=5)
    found = everything(search, at_once=7)
    assert len(set(frozen(found))) == len(found) == search.planned
    # trees but for the forbidden depth; nets, 5 rates without decay and 5 x 5 with; and the one without a model
    assert len(found) == 4 + (5 + 25) + 1
    for configuration in found:
        made.check(configuration)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 50))
def test_the_order_does_not_depend_on_the_sizes_of_asks(sizes: list[int], at_once: int) -> None:
    made = problem(**{f"h{index}": list(range(size)) for index, size in enumerate(sizes)})
    found = everything(create("grid", made), at_once)
    assert len(set(frozen(found))) == len(found) == math.prod(sizes)
    assert found == create("grid", made).ask(math.prod(sizes))


def test_it_resumes_behind_what_is_recorded() -> None:
    made = problem(x=(0.0, 1.0), lr=(1e-5, 0.1, "log-uniform"))
    whole = everything(create("grid", made, points=20))
    again = create("grid", made, points=20)
    stored = json.loads(json.dumps(whole[:150]))
    again.tell([(configuration, None if index % 7 == 0 else 1.0) for index, configuration in enumerate(stored[:140])])
    again.pending(stored[140:])
    again.tell([(whole[300], 2.0)])
    assert everything(again, 11) == [*whole[150:300], *whole[301:]]


def test_starting_points_come_first_and_not_again() -> None:
    made = problem(a=[1, 2, 3], x=(0.0, 1.0))
    made.add_starting_point(a=2, x=0.5)
    made.add_starting_point(a=2, x=0.7)  # not on the grid
    search = create("grid", made, points=3)
    found = everything(search)
    assert found[:2] == made.starting_points
    assert len(set(frozen(found))) == len(found) == 10
    assert search.planned == 9


def test_a_grid_of_any_size_is_never_held_as_a_whole() -> None:
    made = problem(**{f"x{index}": (0.0, 1.0) for index in range(12)})
    tracemalloc.start()
    try:
        search = create("grid", made, points=100)
        assert search.planned == 1e24
        assert len(search.ask(5000)) == 5000
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert not search.exhausted


def test_conditions_of_a_huge_grid_are_counted_without_walking_it() -> None:
    made = problem(switch=[0, 1], **{f"x{index}": (0.0, 1.0) for index in range(10)})
    for index in range(9):
        made.add_condition(cs.EqualsCondition(made.space[f"x{index}"], made.space["switch"], 1))
    assert create("grid", made, points=10).planned == 10 + 10**10
