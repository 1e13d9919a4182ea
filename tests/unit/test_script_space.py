"""The problem that is made of a script's hyperparameters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcsearch.script.script import Dimension, Script
from hpcsearch.script.space import ScriptProblem, problem_of


def test_values_stay_what_they_are() -> None:
    problem = ScriptProblem(
        False,
        (
            Dimension("layers", (2, 5, 6)),
            Dimension("act", ("relu", "tanh")),
            Dimension("lr", (0.1,)),
            Dimension("units", (), 1, 64),
            Dimension("rate", (), 1e-5, 0.1, log=True),
        ),
    )
    told = str(problem)
    assert "layers, Type: Ordinal, Sequence: {2, 5, 6}" in told
    assert "act, Type: Categorical, Choices: {relu, tanh}" in told
    assert "lr, Type: Constant, Value: 0.1" in told
    assert "units, Type: UniformInteger, Range: [1, 64]" in told
    assert "rate, Type: UniformFloat, Range: [1e-05, 0.1]" in told and "on log-scale" in told
    assert problem.starting_points == []


def test_an_array_is_so_many_numbers_and_begins_in_the_middle() -> None:
    problem = ScriptProblem(False, (Dimension("lr", (), 0.0, 1.0, length=3, middle=0.5), Dimension("x", (), 2.0, 2.0)))
    assert problem.names == ["lr[0]", "lr[1]", "lr[2]", "x"]
    assert problem.starting_points == [{"lr[0]": 0.5, "lr[1]": 0.5, "lr[2]": 0.5, "x": 2.0}]


@pytest.mark.parametrize(
    ("dimension", "low", "high"),
    [
        (Dimension("x", (), 0.0, 1.0, beyond=1.0), -1.0, 2.0),
        (Dimension("x", (), 5.0, 5.0, beyond=1.0), 4.0, 6.0),
        (Dimension("x", (), 1.0, 10.0, log=True, beyond=1.0), 0.1, 100.0),
        (Dimension("x", (), 1e-6, 1.0, log=True, beyond=1000.0), 1e-12, 4.851651954097903e8),
    ],
)
def test_what_may_leave_its_range_has_a_wider_one(dimension: Dimension, low: float, high: float) -> None:
    space = ScriptProblem(False, (dimension,)).space["x"]
    assert (space.lower, space.upper) == (pytest.approx(low), pytest.approx(high))


def test_what_begins_anywhere_begins_there_in_every_process() -> None:
    dimensions = (Dimension("a", (), 0.0, 1.0, middle=0.5), Dimension("b", (), 1.0, 100.0, log=True))
    one, other = ScriptProblem(True, dimensions), ScriptProblem(True, dimensions)
    assert one.starting_points == other.starting_points
    (point,) = one.starting_points
    assert point["a"] == 0.5 and 1.0 <= point["b"] <= 100.0 and one.minimize


def test_a_script_is_read_as_it_was_written(tmp_path: Path) -> None:
    script = Script(
        "é.py",
        ("30", "x y"),
        (Dimension("lr", (0.1, 1)), Dimension("w", (), 0.0, 5.0, length=2, middle=2.5)),
        "args",
        "val_loss:min",
        "log.csv",
        True,
        ("model.h5",),
        "é.py 30 'x y'",
        {"commit": "abc", "dirty": True},
    )
    script.save(tmp_path)
    assert Script.load(tmp_path) == script
    assert json.loads((tmp_path / "script.json").read_text())["name"] == "é.py"
    assert script.values({"lr": 1, "w[0]": 3.0, "w[1]": 4.0}) == {"lr": 1, "w": [3.0, 4.0]}
    assert problem_of(tmp_path).minimize
