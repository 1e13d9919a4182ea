"""Workflows from Python: what ``open_workflow`` gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import hpcsearch
from hpcsearch.errors import NotFoundError
from hpcsearch.evaluation import Failure, State
from hpcsearch.workflow import workflow as module
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


def test_evaluations_best_and_counts(make_workflow: MakeWorkflow, tmp_path: Path) -> None:
    layout = make_workflow(objectives=(0.5, None, 0.75), proposed=1)
    opened = hpcsearch.open_workflow("poly", root=tmp_path / "workflows")
    assert (opened.name, opened.directory) == ("poly", layout.root)
    first, second, third, fourth = opened.records()
    assert (first.config, first.objective, first.state) == ({"lr": 0.5, "units": 1}, 0.5, State.FINISHED)
    assert (first.metadata, first.duration_s, first.node, first.attempts) == ({"loss": 1.0}, 0.5, "n1", 1)
    assert [(report.step, report.metrics) for report in first.reports] == [(1.0, {"loss": 2.0})]
    assert second.failure == Failure("ValueError", "it diverged")
    assert (second.objective, second.state) == (None, State.FAILED)
    assert (fourth.state, fourth.started_at, fourth.reports) == (State.PROPOSED, None, ())
    assert opened.best(5) == [third, first]
    assert opened.counts() == {State.FINISHED: 2, State.FAILED: 1, State.PROPOSED: 1}


def test_pages_hold_each_evaluation_once(make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    layout = make_workflow(objectives=(1.0,) * 7)
    records = hpcsearch.open_workflow(layout.root).records()
    assert [record.id for record in records] == list(range(1, 8))
    assert all(len(record.reports) == 1 for record in records)


def test_the_best_of_a_problem_that_minimises(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(objectives=(3.0, 1.0, 2.0))
    from hpcsearch.workflow import database

    engine = database.writer(layout.database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workflow SET minimize = 1")
    engine.dispose()
    assert [record.objective for record in hpcsearch.open_workflow(layout.root).best(2)] == [1.0, 2.0]


def test_a_workflow_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none yet"):
        hpcsearch.open_workflow("poly", root=tmp_path)
