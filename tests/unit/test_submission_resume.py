"""Continuing a workflow: what is refused, what is taken over, and that a refusal changes nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import LimitError, SchedulerError, UsageError
from hpcsearch.evaluation import State
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.submission import resume as module
from hpcsearch.submission.api import Submitted
from hpcsearch.submission.creating import Orders
from hpcsearch.submission.resume import Changes
from hpcsearch.submission.steps import Steps
from hpcsearch.workflow import database, queries, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allocations are submitted for real, and run a program that ends at once where the driver would begin."""
    make = Orders.request
    monkeypatch.setattr(Orders, "request", lambda *given: dataclasses.replace(make(*given), python="/bin/true"))


def write(layout: Layout, **values: object) -> None:
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, **values)
    engine.dispose()


def ended(layout: Layout) -> Layout:
    write(layout, state="ENDED")
    return layout


def resume(layout: Layout, **changes: object) -> Submitted:
    submitted = module.resume(layout, Changes(**changes), Steps(None))  # type: ignore[arg-type]
    submitted.wait()
    return submitted


def contents(layout: Layout) -> tuple[object, ...]:
    with database.reading(layout.database) as connection:
        rows = [dict(row) for row in queries.allocation_rows(connection)]
        return dict(queries.workflow_row(connection)), rows, queries.count_states(connection)


def test_settings_stay_unless_told_otherwise(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(objectives=(1.0, 2.0)))
    submitted = resume(layout, walltime_s=600, evals_per_node=4, bind=False)
    plan = Plan.load(layout.plan(2))
    assert submitted.number == 2
    assert (plan.walltime_s, plan.evals_per_node, plan.nodes, plan.slot_reuse) == (600, 4, 1, "auto")
    assert (plan.names, plan.run) == (("lr", "units"), str(layout.root.parents[1] / "model_run.py") + ":run")
    third = resume(layout)
    assert Plan.load(layout.plan(third.number)) == dataclasses.replace(plan, allocation=3)
    allocation = take_snapshot(layout).allocations[1]
    assert (allocation.scheduler_id, allocation.queue, allocation.walltime_s) == (submitted.job_id, "local", 600)


def test_refused_while_an_allocation_runs(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(proposed=1)
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    write(layout, scheduler_id=str(ProcessId.of(os.getpid())))
    before = contents(layout)
    with pytest.raises(UsageError, match="still running"):
        resume(layout)
    assert contents(layout) == before


def test_refused_while_one_is_being_cancelled(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(proposed=1)
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    write(layout, scheduler_id=str(ProcessId.of(os.getpid())), state="RUNNING")
    layout.cancelled(1).touch()
    with pytest.raises(UsageError, match=r"still being cancelled\. It was told to end at ") as caught:
        resume(layout)
    assert "hpcsearch status" in caught.value.hint
    assert "hpcsearch cancel" not in caught.value.hint


def test_refused_while_one_is_being_submitted(make_workflow: MakeWorkflow) -> None:
    with pytest.raises(UsageError, match="still submitted"):
        resume(make_workflow())


def test_one_that_was_taken_back_before_it_began_has_not_died(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(proposed=1)
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    job = Mock()
    Submitted((job,), find_site("local"), layout, 1).cancel()
    job.cancel.assert_called_once()
    write(layout, scheduler_id=str(dataclasses.replace(ProcessId.of(os.getpid()), start=1)))
    (allocation,) = take_snapshot(layout).allocations
    assert allocation.standing == "cancelled"
    assert allocation.reason.startswith("It was told to end at ")


def test_an_allocation_that_died_is_no_hindrance(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(proposed=1)
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    dead = dataclasses.replace(ProcessId.of(os.getpid()), start=1)
    write(layout, scheduler_id=str(dead), state="RUNNING")
    assert take_snapshot(layout).allocations[0].standing == "died"
    assert resume(layout).number == 2


def test_a_search_that_is_done_goes_on_only_with_more(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(objectives=(1.0, 2.0), max_evals=2))
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workflow SET finished_at = 1.0, outcome = 'The budget is spent.'")
    engine.dispose()
    for unchanged in (None, 2):
        with pytest.raises(UsageError, match=r"is done: The budget is spent\.") as caught:
            resume(layout, max_evals=unchanged)
        assert "--max-evals" in caught.value.hint
    resume(layout, max_evals=3)
    snapshot = take_snapshot(layout)
    assert (snapshot.max_evals, snapshot.finished_at, snapshot.outcome) == (3, None, "")


def test_a_smaller_budget_takes_back_what_has_not_begun(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(objectives=(1.0, None), proposed=5))
    with pytest.raises(UsageError, match="2 evaluations have been started already"):
        resume(layout, max_evals=1)
    out = io.StringIO()
    module.resume(layout, Changes(max_evals=4), Steps(out)).wait()
    assert "Configurations that were proposed and have not begun are taken back: 3.\n" in out.getvalue()
    with database.reading(layout.database) as connection:
        row = queries.workflow_row(connection)
        assert (row["claimed"], row["max_evals"]) == (4, 4)
        states = {one["id"]: State(one["state"]) for one in queries.evaluations(connection)}
    assert [one for one, state in states.items() if state is State.CANCELLED] == [5, 6, 7]
    assert [one for one, state in states.items() if state is State.PROPOSED] == [3, 4]


def done(layout: Layout, **limits: object) -> Layout:
    """A search that ended by its limits; of these only the budget has a column of its own."""
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        settings = json.loads(connection.exec_driver_sql("SELECT settings FROM workflow").scalar_one())
        text = json.dumps({**settings, **limits})
        connection.exec_driver_sql(
            "UPDATE workflow SET finished_at = 1.0, outcome = 'It is over.', settings = ?", (text,)
        )
    engine.dispose()
    return ended(layout)


def test_a_search_that_had_enough_successes_goes_on_only_with_more(make_workflow: MakeWorkflow) -> None:
    layout = done(make_workflow(objectives=(1.0, None, 2.0), max_evals=None), max_success=2)
    for changes in ({}, {"max_success": 2}, {"max_success": 1, "max_evals": 900}):
        with pytest.raises(UsageError, match="is done: It is over") as caught:
            resume(layout, **changes)
        assert "give it more with --max-success." in caught.value.hint
    resume(layout, max_success=3)
    assert Plan.load(layout.plan(2)).max_success == 3
    with pytest.raises(UsageError, match="2 evaluations have succeeded already: --max-success 2 leaves") as caught:
        resume(layout, max_success=2)
    assert "--max-success 3 or more" in caught.value.hint


def test_with_both_limits_both_must_leave_something_to_do(make_workflow: MakeWorkflow) -> None:
    layout = done(make_workflow(objectives=(1.0, None), max_evals=2), max_success=1)
    before = contents(layout)
    with pytest.raises(UsageError, match="1 evaluation has succeeded already: --max-success 1 leaves"):
        resume(layout, max_evals=9)
    with pytest.raises(UsageError, match="2 evaluations have been started and have ended: --max-evals 2 leaves"):
        resume(layout, max_success=9)
    assert contents(layout) == before
    resume(layout, max_success=9, max_evals=9)


def test_a_budget_as_large_as_what_has_ended_leaves_nothing_to_do(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(objectives=(1.0, 2.0), proposed=3))
    before = contents(layout)
    with pytest.raises(UsageError, match="leaves nothing to do") as caught:
        resume(layout, max_evals=2)
    assert "--max-evals 3 or more" in caught.value.hint
    assert contents(layout) == before


def test_settings_that_an_older_workflow_does_not_have(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(proposed=1))
    resume(layout, retry_failed=True)
    plan = Plan.load(layout.plan(2))
    assert (plan.max_attempts, plan.retry_failed, plan.max_success, plan.smoke) == (3, True, None, False)
    resume(layout, max_attempts=5, retry_failed=False)
    plan = Plan.load(layout.plan(3))
    assert (plan.max_attempts, plan.retry_failed) == (5, False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"nodes": 2}, LimitError), ({"queue": "debug"}, UsageError), ({"ranks_per_node": 2}, UsageError)],
)
def test_what_the_site_does_not_take_changes_nothing(
    make_workflow: MakeWorkflow, changes: dict[str, object], error: type[Exception]
) -> None:
    layout = ended(make_workflow(proposed=3))
    before = contents(layout)
    with pytest.raises(error):
        resume(layout, max_evals=1, **changes)
    assert contents(layout) == before


def test_what_the_scheduler_refuses_changes_nothing(
    make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layout = ended(make_workflow(proposed=3))
    before = contents(layout)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SchedulerError):
        resume(layout, site="slurm", queue="debug", max_evals=1)
    assert contents(layout) == before
    assert not layout.allocation(2).exists()


def test_of_two_who_resume_at_once_one_is_refused(make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one has read the database before the first one writes to it."""
    layout = ended(make_workflow(proposed=1))
    find = module.find_site

    def other_is_faster(*given: object, **more: object) -> object:
        monkeypatch.setattr(module, "find_site", find)
        resume(layout)
        return find(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "find_site", other_is_faster)
    with pytest.raises(UsageError, match="just now"):
        resume(layout)
    assert len(take_snapshot(layout).allocations) == 2
    assert Plan.load(layout.plan(2)).allocation == 2


def test_what_a_killed_submission_left_is_no_hindrance(make_workflow: MakeWorkflow) -> None:
    layout = ended(make_workflow(proposed=1))
    layout.allocation(2).mkdir()
    (layout.allocation(2) / "job.sh").write_text("half a scr")
    resume(layout)
    assert layout.plan(2).exists()
