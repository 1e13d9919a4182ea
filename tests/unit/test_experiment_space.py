"""What experiments try: from dicts of lists and bounds to problems, without running anything."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.errors import UsageError
from hpcsearch.experiment import space as spaces
from hpcsearch.experiment.function import arguments
from hpcsearch.experiment.space import Space
from hpcsearch.problem import HpProblem
from hpcsearch.reference import Reference, load
from hpcsearch.search import create
from hpcsearch.search.asktell import Search

ARGS = {"learning_rate": [0.001, 0.0005, 0.0001], "dropout": [0.45, 0.7]}


def problem(space: Space, folder: Path) -> HpProblem:
    """The problem that a node would load."""
    file = folder / f"problem{len(list(folder.iterdir()))}.py"
    file.write_text(space.problem(minimize=False))
    found: HpProblem = load(Reference.parse(str(file), "Problem", folder))
    return found


def drained(search: Search) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not search.exhausted:
        found += search.ask(16)
    return found


def calls(space: Space, folder: Path) -> list[dict[str, Any]]:
    """What the function is called with, in the order of a search with one worker."""
    return [arguments(point, space.names, space.objects) for point in drained(create("list", problem(space, folder)))]


def test_a_grid_has_the_seed_s_six_jobs_in_their_order(tmp_path: Path) -> None:
    assert [tuple(call.values()) for call in calls(spaces.product(ARGS), tmp_path)] == [
        *((0.001, 0.45), (0.001, 0.7), (0.0005, 0.45), (0.0005, 0.7), (0.0001, 0.45), (0.0001, 0.7))
    ]


def test_lists_are_zipped_and_not_crossed(tmp_path: Path) -> None:
    assert calls(spaces.zipped({"a": [1, 2], "b": [5, 3]}), tmp_path) == [{"a": 1, "b": 5}, {"a": 2, "b": 3}]


def test_what_is_listed_twice_is_run_twice(tmp_path: Path) -> None:
    twice = spaces.zipped({"seed": [1, 1, 2], "repeat": ["a", "a", "a"]})
    assert calls(twice, tmp_path) == [{"seed": seed, "repeat": "a"} for seed in (1, 1, 2)]


def test_a_single_run_has_no_arguments(tmp_path: Path) -> None:
    assert calls(spaces.single("training"), tmp_path) == [{}]


VALUES = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=5),
    st.none(),
    st.just(math.inf),
    st.lists(st.integers(0, 9), max_size=2),
    st.tuples(st.text(max_size=2)),
)


@given(values=st.dictionaries(st.sampled_from("abcd"), st.lists(VALUES, min_size=1, max_size=3), min_size=1))
def test_any_values_arrive_as_they_were_given(values: dict[str, list[Any]], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("space")
    expected = list(dict.fromkeys(map(repr, itertools.product(*values.values()))))
    assert [repr(tuple(call.values())) for call in calls(spaces.product(values), folder)] == expected


def test_numpy_scalars_and_arrays_are_lists_of_numbers(tmp_path: Path) -> None:
    space = spaces.product({"lr": np.array([0.5, 0.25]), "n": [np.int64(3)]})
    assert space.spaces == {"lr": [0.5, 0.25], "n": [3]} and type(space.spaces["n"][0]) is int
    assert calls(space, tmp_path) == [{"lr": 0.5, "n": 3}, {"lr": 0.25, "n": 3}]


class Widget:
    def __repr__(self) -> str:
        return "a widget"


def test_objects_that_look_the_same_are_told_apart(tmp_path: Path) -> None:
    big = [np.zeros(5000), np.ones(5000)]
    found = calls(spaces.product({"weights": big}), tmp_path)
    assert [float(call["weights"].sum()) for call in found] == [0.0, 5000.0]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([0.001, 0.0001], (0.0001, 0.001)),
        ([0.45, 0.7], (0.45, 0.7)),
        ([64, 8], (8, 64)),
        ([1, 0.5], (0.5, 1.0)),
        ((1e-4, 1e-1, "log"), (1e-4, 1e-1, "log-uniform")),
        ([128, 16, "log-uniform"], (16, 128, "log-uniform")),
        ([3, 3], 3),
        (["relu", "tanh", "gelu"], ["relu", "tanh", "gelu"]),
        ([True, False], [True, False]),
        ([16], [16]),
    ],
)
def test_bounds(bounds: Any, expected: Any) -> None:
    space = spaces.bounded({"x": bounds})
    assert space.spaces == {"x": expected}
    assert not space.objects


def test_reversed_bounds_leave_room_to_search(tmp_path: Path) -> None:
    """The original clamped every individual to the upper bound."""
    space = spaces.bounded({"learning_rate": [0.001, 0.0001], "dropout": [0.45, 0.7]})
    asked = create("de", problem(space, tmp_path), seed=0, population=6).ask(12)
    rates = {one["learning_rate"] for one in asked}
    assert len(rates) == 12 and all(0.0001 <= rate <= 0.001 for rate in rates)


@pytest.mark.parametrize("strategy", ["random", "de"])
def test_all_choices_are_tried(tmp_path: Path, strategy: str) -> None:
    """The original took the first two alone."""
    space = spaces.bounded({"layers": [[64], [64, 32], None, (8,)]})
    found = drained(create(strategy, problem(space, tmp_path), seed=0))
    assert sorted(repr(arguments(one, space.names, space.objects)["layers"]) for one in found) == [
        *("(8,)", "None", "[64, 32]", "[64]")
    ]


@pytest.mark.parametrize("strategy", ["random", "de"])
def test_whole_numbers_stay_whole(tmp_path: Path, strategy: str) -> None:
    space = spaces.bounded({"units": [1, 100], "rate": [0.0, 1.0]})
    asked = create(strategy, problem(space, tmp_path), seed=0).ask(40)
    assert all(type(one["units"]) is int and type(one["rate"]) is float for one in asked)


@pytest.mark.parametrize(
    ("make", "values", "sentence"),
    [
        (
            spaces.zipped,
            {"a": [1], "b": [1, 2]},
            "Length of each function argument list must be equal: a has 1, b has 2",
        ),
        (spaces.product, {}, "The dict of hyperparameters is empty"),
        (spaces.product, [("a", [1])], "says nothing of hyperparameters"),
        (spaces.product, {"a": 0.1}, "'a' is 0.1, not a list of values"),
        (spaces.product, {"a": "relu"}, "'a' is 'relu', not a list of values"),
        (spaces.zipped, {"a": []}, "The list of 'a' is empty"),
        (spaces.bounded, {"a": [1, 2, 3]}, "'a' has 3 numbers, [1, 2, 3]: a range has two bounds"),
    ],
)
def test_what_makes_no_sense(make: Any, values: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(values)
    assert sentence in caught.value.message and caught.value.hint
