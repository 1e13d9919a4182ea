from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ConfigSpace as cs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.errors import ProblemError
from hpcsearch.problem import HpProblem, to_configuration

ROOT = Path(__file__).parents[2]

POLYNOME2 = """\
Configuration space object:
  Hyperparameters:
    activation, Type: Categorical, Choices: {identity, relu, sigmoid, tanh}, Default: identity
    lr, Type: UniformFloat, Range: [0.0001, 1.0], Default: 0.50005
    units, Type: UniformInteger, Range: [1, 100], Default: 50

Starting Point:
{0: {'activation': 'identity', 'lr': 0.01, 'units': 10}}
"""

MIXED = """\
Configuration space object:
  Hyperparameters:
    batch, Type: Ordinal, Sequence: {1, 2, 4}, Default: 1
    bias, Type: Categorical, Choices: {True, False}, Default: True
    layers, Type: UniformInteger, Range: [8, 512], Default: 64, on log-scale
    lr, Type: UniformFloat, Range: [0.0001, 1.0], Default: 0.01, on log-scale
    momentum, Type: UniformFloat, Range: [0.0, 1.0], Default: 0.9
    optimizer, Type: Categorical, Choices: {adam, sgd}, Default: sgd
    seed, Type: Constant, Value: 7
  Conditions:
    momentum | optimizer == 'sgd'

Starting Points:
{0: {'batch': 4, 'bias': False, 'layers': 8, 'lr': 1.0, 'optimizer': 'adam', 'seed': 7},
 1: {'batch': 1, 'bias': True, 'layers': 9, 'lr': 0.1, 'momentum': 0.5, 'optimizer': 'sgd', 'seed': 7}}"""


def polynome2() -> HpProblem:
    problem = HpProblem()
    problem.add_dim("units", (1, 100))
    problem.add_hyperparameter(["identity", "relu", "sigmoid", "tanh"], "activation")
    problem.add_hyperparameter((0.0001, 1.0), "lr")
    problem.add_starting_point(units=10, activation="identity", lr=0.01)
    return problem


def mixed() -> HpProblem:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((8, 512, "log-uniform"), "layers")
    problem.add_hyperparameter((1e-4, 1, "log-uniform"), "lr")
    problem.add_hyperparameter([1, 2, 4], "batch")
    problem.add_hyperparameter([True, False], "bias")
    problem.add_hyperparameter(7, "seed")
    optimizer = problem.add_hyperparameter(["adam", "sgd"], "optimizer", default_value="sgd")
    momentum = problem.add_hyperparameter((0, 1.0, "uniform"), "momentum", 0.9)
    problem.add_condition(cs.EqualsCondition(momentum, optimizer, "sgd"))
    return problem


def test_the_example_prints_the_tutorials_text_byte_for_byte() -> None:
    script = ROOT / "examples" / "polynome2" / "problem.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=60, env=environment, check=True)
    assert done.stdout == POLYNOME2.encode()
    assert done.stderr == b""


def test_printed_form_of_every_kind() -> None:
    problem = mixed()
    problem.add_starting_point(layers=8, lr=1, batch=4, bias=False, optimizer="adam")
    problem.add_starting_point(layers=9.0, lr=0.1, batch=1, bias=True, optimizer="sgd", momentum=0.5)
    assert str(problem) == repr(problem) == MIXED
    assert problem.minimize and not HpProblem().minimize


def test_without_starting_points_the_space_alone_is_printed() -> None:
    problem = HpProblem()
    problem.add_dim("x", (1, 2))
    assert str(problem).endswith("Default: 2")


def test_names_and_starting_points() -> None:
    problem = polynome2()
    assert problem.names == ["activation", "lr", "units"]
    assert problem.starting_points == [{"activation": "identity", "lr": 0.01, "units": 10}]
    problem.starting_points[0]["units"] = 99
    assert problem.starting_points[0]["units"] == 10


def test_values_are_plain_whatever_numpy_was_given() -> None:
    problem = HpProblem()
    problem.add_dim("a", (np.int64(1), np.int64(5)))
    problem.add_dim("b", list(np.array([0.5, 1.5])))
    problem.add_dim("c", np.float32(0.5))
    problem.add_hyperparameter(cs.CategoricalHyperparameter("d", ["x", 1, 2.5, False]))
    problem.add_hyperparameter(cs.NormalFloatHyperparameter("e", mu=0.5, sigma=0.1, lower=0.0, upper=1.0))
    problem.add_dim("f", [1, 2.5])
    problem.add_starting_point(a=np.int32(3), b=np.float64(1.5), d=np.bool_(False), e=np.float32(0.25), f=1.0)
    assert problem.starting_points == [{"a": 3, "b": 1.5, "c": 0.5, "d": False, "e": 0.25, "f": 1}]
    problem.space.seed(1)
    points = [to_configuration(point) for point in problem.space.sample_configuration(50)]
    for point in [*points, *problem.starting_points]:
        assert {type(value) for value in point.values()} <= {int, float, str, bool}
        problem.check(point)
    assert {repr(point["d"]) for point in points} == {"'x'", "1", "2.5", "False"}
    assert {repr(point["f"]) for point in points} == {"1", "2.5"}


def test_size() -> None:
    problem = HpProblem()
    problem.add_dim("a", (1, 10))
    problem.add_dim("b", ["x", "y"])
    problem.add_dim("c", 5)
    assert problem.size == 20
    problem.add_forbidden_clause(cs.ForbiddenEqualsClause(problem.space["a"], 3))
    assert problem.size == math.inf
    assert polynome2().size == math.inf


def test_inactive_hyperparameters_are_left_out() -> None:
    problem = mixed()
    problem.add_starting_point(layers=8, lr=1, batch=4, bias=False, optimizer="adam", momentum=0.5)
    assert "momentum" not in problem.starting_points[0]
    problem.space.seed(2)
    points = [to_configuration(point) for point in problem.space.sample_configuration(50)]
    assert {("momentum" in point, point["optimizer"]) for point in points} == {(True, "sgd"), (False, "adam")}
    with pytest.raises(ProblemError, match="'momentum' has a value but is inactive"):
        problem.check({**problem.starting_points[0], "momentum": 0.5})


def test_conditions_on_conditions() -> None:
    problem = HpProblem()
    a = problem.add_dim("c_root", ["on", "off"])
    b = problem.add_dim("b_child", [1, 2, 3])
    c = problem.add_dim("a_grandchild", (0.0, 1.0))
    problem.add_conditions([cs.EqualsCondition(b, a, "on"), cs.GreaterThanCondition(c, b, 1)])
    problem.add_starting_point(c_root="off")
    problem.add_starting_point(c_root="on", b_child=1)
    with pytest.raises(ProblemError, match="no value for 'a_grandchild'"):
        problem.add_starting_point(c_root="on", b_child=2)


def test_a_refused_condition_leaves_no_trace() -> None:
    problem = polynome2()
    before = str(problem)
    stranger = cs.UniformFloatHyperparameter("stranger", 0.0, 1.0)
    units = problem.space["units"]
    refused: list[Any] = [
        cs.EqualsCondition(stranger, units, 3),
        cs.ForbiddenEqualsClause(units, 50),  # the default
        cs.ForbiddenEqualsClause(units, 10),  # the starting point
        "units == 3",
    ]
    for part in refused:
        with pytest.raises(ProblemError):
            problem.add_forbidden_clause(part)
        assert str(problem) == before
    problem.add_forbidden_clause(cs.ForbiddenEqualsClause(units, 3))
    with pytest.raises(ProblemError, match=r"is not allowed.*units == 3"):
        problem.check({"units": 3, "lr": 0.1, "activation": "relu"})


SPACES: list[tuple[Any, str]] = [
    ((3, 3), "must be below"),
    ((3, 1), r"write \(1, 3\)"),
    ((0, 1, "log-uniform"), "must begin above 0"),
    ((1, 2, "normal"), "is no search space"),
    ((1,), "is no search space"),
    (("a", "b"), "is no search space"),
    ((True, 5), "is no search space"),
    ({}, "is no search space"),
    ((0.0, math.inf), "both finite"),
    ((1, 2**60), "too large"),
    ((1e-15, 1e-14), "finer than"),
    ([], "is empty"),
    ([None, "a"], "None is neither"),
    ([1, math.nan], "nan is neither"),
    (math.nan, "nan is neither"),
    ("\0", "ConfigSpace does not take"),
    ([1, 1.0], "twice"),
    ([1, True], "True equals 1"),
    (cs.Constant("y", 3), "under another name"),
]


@pytest.mark.parametrize(("space", "message"), SPACES)
def test_spaces_that_make_no_sense(space: Any, message: str) -> None:
    problem = HpProblem()
    with pytest.raises(ProblemError, match=message):
        problem.add_hyperparameter(space, "x")
    assert problem.names == []


CALLS: list[tuple[Callable[[HpProblem], object], str]] = [
    (lambda p: p.add_hyperparameter("x", (1, 3)), "takes the space first"),  # type: ignore[arg-type]
    (lambda p: p.add_dim("units", (1, 3)), "already"),
    (lambda p: p.add_dim("more", (1, 3)), "after a starting point"),
    (lambda p: p.add_hyperparameter((1, 5), "x", 9), "x=9 is not a whole number from 1 to 5"),
    (lambda p: p.add_hyperparameter(cs.Constant("x", 3), default_value=3), "default value of its own"),
    (lambda p: p.add_starting_point(unit=1, activation="relu", lr=0.1), "did you mean 'units'"),
    (lambda p: p.add_starting_point(units=1, activation="rleu", lr=0.1), "did you mean 'relu'"),
    (lambda p: p.add_starting_point(units=1, lr=0.1), "no value for 'activation'"),
    (lambda p: p.add_starting_point(units=1.5, activation="relu", lr=0.1), "units=1.5 is not a whole number"),
    (lambda p: p.add_starting_point(units=True, activation="relu", lr=0.1), "units=True is not a whole number"),
    (lambda p: p.add_starting_point(units=101, activation="relu", lr=0.1), "from 1 to 100"),
    (lambda p: p.add_starting_point(units=1, activation="relu", lr=math.nan), "lr=nan is not a number"),
    (lambda p: p.add_starting_point(units=1, activation="relu", lr="0.1"), "lr='0.1' is not a number"),
    (lambda p: p.check({"units": 1, "lr": 0.1}), "no value for 'activation'"),
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_calls_that_are_refused(call: Callable[[HpProblem], object], message: str) -> None:
    problem = polynome2()
    with pytest.raises(ProblemError, match=message):
        call(problem)
    assert str(problem) + "\n" == POLYNOME2


texts = st.text(st.characters(exclude_categories=["C"]), max_size=5)
finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
spaces = st.one_of(
    st.tuples(st.integers(-1000, 1000), st.integers(1, 1000)).map(lambda t: (t[0], t[0] + t[1])),
    st.tuples(finite, st.floats(0.001, 1e3)).map(lambda t: (t[0], t[0] + t[1])),
    st.tuples(st.floats(1e-10, 10.0), st.floats(1.5, 1e6)).map(lambda t: (t[0], t[0] * t[1], "log-uniform")),
    st.tuples(st.integers(1, 100), st.integers(1, 1000)).map(lambda t: (t[0], t[0] + t[1], "log-uniform")),
    st.lists(finite, min_size=1, max_size=5, unique=True),
    st.lists(texts.filter(bool) | st.integers(2, 9), min_size=1, max_size=5, unique=True),
    texts | finite | st.booleans(),
)


@settings(max_examples=60)
@given(st.lists(spaces, min_size=1, max_size=4), st.integers(0, 2**31))
def test_everything_sampled_is_legal_plain_and_survives_json(parts: list[Any], seed: int) -> None:
    problem = HpProblem()
    for number, space in enumerate(parts):
        problem.add_hyperparameter(space, f"x{number}")
    problem.space.seed(seed)
    for point in problem.space.sample_configuration(5):
        configuration = to_configuration(point)
        problem.check(configuration)
        again = json.loads(json.dumps(configuration))
        assert again == configuration
        assert [type(value) for value in again.values()] == [type(value) for value in configuration.values()]
        problem.add_starting_point(**again)
        assert problem.starting_points[-1] == configuration


@settings(max_examples=60)
@given(spaces)
def test_bounds_and_choices_are_legal_starting_points(space: Any) -> None:
    problem = HpProblem()
    problem.add_hyperparameter(space, "x")
    for value in space[:2] if isinstance(space, tuple) else space if isinstance(space, list) else [space]:
        problem.add_starting_point(x=value)
        kept = problem.starting_points[-1]["x"]
        assert kept == value or math.isclose(kept, value, rel_tol=1e-12, abs_tol=1e-12)
