"""Several objectives: the Pareto front, from Python and at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_bed import FAILURE, make
from sqlalchemy import update

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.errors import UsageError
from hpcsearch.workflow import database, schema
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.h5_file import write_results_h5
from hpcsearch.workflow.results.pareto import beats, parse_goals
from hpcsearch.workflow.workflow import open_workflow


def outcome(accuracy: float, latency: float | None) -> dict[str, Any]:
    return {"objective": accuracy, "metadata": json.dumps({"accuracy": accuracy, "latency": latency, "note": "x"})}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    outcomes = [
        outcome(0.9, 30.0),
        outcome(0.8, 10.0),
        outcome(0.7, 20.0),  # beaten by the second
        FAILURE,
        outcome(0.95, None),  # has no latency
        outcome(0.9, 30.0),  # equals the first
    ]
    return make(tmp_path, [{"x": number} for number in range(8)], outcomes, ())


def test_what_is_beaten_failed_or_without_a_number_is_not_on_the_front(layout: Layout) -> None:
    workflow = open_workflow(layout.root)
    assert [record.id for record in workflow.pareto("accuracy:max,latency:min")] == [1, 6, 2]
    assert [record.id for record in workflow.pareto("latency:min,accuracy")] == [2, 1, 6]
    assert [record.id for record in workflow.pareto("objective:max")] == [5]
    assert [record.id for record in workflow.pareto("accuracy:min, latency:max")] == [3, 1, 6]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=30))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, ...]]) -> None:
    from types import SimpleNamespace

    from hpcsearch.evaluation import State
    from hpcsearch.workflow.results.pareto import pareto_front

    evaluated = [
        SimpleNamespace(state=State.FINISHED, objective=1.0, metadata=dict(zip("abc", point, strict=True)))
        for point in points
    ]
    front = pareto_front(evaluated, parse_goals("a,b,c", minimize=False)) if points else []
    found = sorted(tuple(one.metadata.values()) for one in front)
    assert found == sorted(one for one in points if not any(beats(other, one) for other in points))


@pytest.mark.parametrize("text", ["", "a,", "a:up", "a:max,a:min", ":min"])
def test_goals_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_goals(text, minimize=False)
    assert "--pareto NAME:max" in caught.value.hint


def results(layout: Layout, *arguments: str) -> int:
    return run(hpcsearch_command, ["results", str(layout.root), *arguments], "hpcsearch")


def test_it_is_printed_with_its_objectives(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout, "--pareto", "accuracy:max,latency:min") == 0
    printed = capsys.readouterr().out
    assert printed.split()[:4] == ["Id", "accuracy", "latency", "x"]
    assert "3 finished evaluations that no other one beats in accuracy, latency." in printed
    assert results(layout, "--pareto", "accuracy:max,latency:min", "--format", "json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [1, 6, 2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--pareto", "acuracy"], "There are: objective, accuracy, latency."),
        (["--pareto", "accuracy:best"], "NAME:min or NAME:max"),
        (["--pareto", "accuracy", "--top", "3"], "neither --top nor --output"),
    ],
)
def test_wrong_ones_are_answered(
    layout: Layout, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results(layout, *arguments) == 2
    assert word in capsys.readouterr().err


def several(accuracy: float, latency: float, names: list[str]) -> dict[str, Any]:
    return {
        "objective": accuracy,
        "metadata": json.dumps({"accuracy": accuracy, "latency": latency, "objectives": names}),
    }


@pytest.fixture
def named(tmp_path: Path) -> Layout:
    outcomes = [several(*pair, ["accuracy", "latency:min"]) for pair in ((0.9, 30.0), (0.8, 10.0), (0.7, 20.0))]
    return make(tmp_path, [{"x": number} for number in range(4)], outcomes, ())


def test_without_names_all_objectives_count_in_the_senses_that_they_have(
    named: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = open_workflow(named.root)
    assert [record.id for record in workflow.pareto()] == [1, 2]
    assert [record.id for record in workflow.pareto("latency")] == [2]
    assert [record.id for record in workflow.pareto("latency:max")] == [1]
    assert results(named, "--pareto") == 0
    printed = capsys.readouterr().out
    assert printed.split()[:4] == ["Id", "accuracy", "latency", "x"]
    assert "2 finished evaluations that no other one beats in accuracy, latency." in printed


def test_the_workflow_may_stand_behind_the_option(named: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hpcsearch_command, ["results", "--pareto", str(named.root)], "hpcsearch") == 0
    assert "2 finished evaluations that no other one beats in accuracy, latency." in capsys.readouterr().out
    for arguments in ([], ["--pareto"]):
        assert run(hpcsearch_command, ["results", *arguments], "hpcsearch") == 2
        assert "Missing argument 'WF'" in capsys.readouterr().err


def test_a_file_of_results_alone_has_them_too(named: Layout, tmp_path: Path) -> None:
    write_results_h5(named)
    moved = named.arrays.rename(tmp_path / "elsewhere.h5")
    assert [record.id for record in open_workflow(moved).pareto()] == [1, 2]
    assert [record.id for record in open_workflow(moved).pareto("latency:max,accuracy:min")] == [1, 3]


def test_without_names_there_must_be_several(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout, "--pareto") == 2
    assert "has finished with several objectives" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("de", "de searches by the first of the objectives accuracy, latency alone; ambs goes by all of them."),
        ("ambs", "ambs goes by all the objectives accuracy, latency."),
        ("random", "The objectives are accuracy, latency; random goes by none."),
        ("gone.py:Own", "The objectives are accuracy, latency."),
    ],
)
def test_results_say_which_objectives_the_search_goes_by(
    named: Layout, search: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = database.writer(named.database)
    with engine.begin() as connection:
        connection.execute(update(schema.workflow).values(search=search))
    engine.dispose()
    assert results(named) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{sentence} With --pareto those are shown that no other one beats."
    assert results(named, "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_results_of_one_objective_say_nothing_of_it(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout) == 0
    assert "objectives" not in capsys.readouterr().out
