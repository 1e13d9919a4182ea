"""What status says: how nodes were used, and where allocations stand and why, from the database and the scheduler."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cli_bed import change
from sqlalchemy import insert

from hpcsearch import schedulers
from hpcsearch.allocation import driver
from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import TOLD_TO_END, ask_schedulers, view
from hpcsearch.monitor.nodes import node_hours, states_in_words
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.schedulers import AllocationState, AllocationStatus, EndCause
from hpcsearch.schedulers.slurm_words import status_of
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database, schema
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]

BEGAN = time.time() - 7200.0


def add(layout: Layout, table: str, *rows: dict[str, Any]) -> None:
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(schema.metadata.tables[table]).values(row))
    engine.dispose()


def node(name: str, state: str, held_to_s: float | None = None, reason: str | None = None) -> dict[str, Any]:
    held_to = None if held_to_s is None else BEGAN + held_to_s
    own = {"allocation": 1, "name": name, "state": state, "reason": reason}
    return {**own, "slots": 2, "cores": 8, "gpus": 1, "held_from_at": BEGAN + 5.0, "held_to_at": held_to}


def attempt(evaluation: int, name: str, from_s: float, to_s: float | None) -> dict[str, Any]:
    ended = None if to_s is None else BEGAN + to_s
    own = {"evaluation": evaluation, "number": 1, "allocation": 1, "token": "t", "node": name, "slot": 0, "nodes": None}
    return {**own, "state": "FINISHED" if ended else "RUNNING", "started_at": BEGAN + from_s, "ended_at": ended}


def looked_at(layout: Layout) -> Snapshot:
    return take_snapshot(layout, {}, with_nodes=True)


def test_node_hours_of_an_allocation_that_ended(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    change(layout, state="ENDED", nodes=4, started_at=BEGAN, ended_at=BEGAN + 3600)
    add(
        layout,
        "node",
        node("n1", "DONE", 3600),
        node("n2", "RELEASED", 1800),
        node("n3", "LOST", 900, "its agent was killed"),
        node("n4", "QUARANTINED", 3600, "its evaluations failed one after the other"),
    )
    add(layout, "attempt", attempt(1, "n1", 0, 3600), attempt(2, "n1", 100, 1900), attempt(3, "n2", 0, 1800))
    seen = looked_at(layout)
    by_name = {one.name: one for one in seen.nodes}
    assert {name: one.held_s for name, one in by_name.items()} == {"n1": 3600, "n2": 1800, "n3": 900, "n4": 3600}
    assert {name: one.busy_s for name, one in by_name.items()} == {"n1": 2700, "n2": 900, "n3": 0, "n4": 0}
    assert [one.given_back_s for one in seen.nodes] == [0, 1800, 0, 0]
    hours = node_hours(seen.nodes)
    assert (hours.held, hours.busy, hours.given_back) == (2.75, 1.0, 0.5)
    assert states_in_words(seen.nodes) == "1 given back, 1 lost, 1 set aside, 1 done"


def test_a_node_that_was_set_aside_is_held_until_it_is_given_back(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    change(layout, state="RUNNING", scheduler_id="7", nodes=2, started_at=BEGAN)
    add(layout, "node", node("n1", "QUARANTINED"), node("n2", "QUARANTINED", 600))
    held, gone = looked_at(layout).nodes
    assert (held.held_to_at, held.given_back_s) == (None, 0.0)
    assert (gone.held_s, gone.state) == (600, "set aside") and gone.given_back_s > 0


def test_node_hours_of_an_allocation_that_runs(make_workflow: MakeWorkflow) -> None:
    """Held and busy count until now; a node that no agent has told of is held all the same."""
    layout = make_workflow()
    change(layout, state="RUNNING", scheduler_id="7", nodes=3, started_at=BEGAN)
    add(layout, "node", node("n1", "UP"), node("n2", "RELEASED", 3600))
    add(layout, "attempt", attempt(1, "n1", 3600, None), attempt(2, "n1", 0, 3600))
    seen = looked_at(layout)
    first, second, unheard = seen.nodes
    until_now_s = seen.taken_at - BEGAN
    assert first.held_s == until_now_s
    assert first.busy_s == pytest.approx((3600 + until_now_s - 3600) / 2)
    assert (first.held_to_at, first.held_from_at) == (None, BEGAN)
    assert (second.held_s, second.given_back_s) == (3600, until_now_s - 3600)
    assert (unheard.name, unheard.state, unheard.held_s) == ("?", "unheard", first.held_s)


def test_nodes_of_an_allocation_that_died_were_held_to_its_last_word(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    change(layout, state="RUNNING", scheduler_id="7", started_at=BEGAN)
    add(layout, "node", node("n1", "UP"))
    add(layout, "attempt", attempt(1, "n1", 0, 600), attempt(2, "n1", 600, None))
    add(
        layout,
        "event",
        {"evaluation": 1, "attempt": 1, "allocation": 1, "state": State.FINISHED.value, "at": BEGAN + 700.0},
    )
    dead = {1: AllocationStatus(AllocationState.ENDED, "A node of it failed.", "NODE_FAIL", EndCause.NODE_FAILURE)}
    seen = take_snapshot(layout, dead, with_nodes=True)
    assert (seen.nodes[0].held_s, seen.nodes[0].busy_s) == (700, 350)
    assert seen.allocations[0].reason == "A node of it failed. Its driver ended without recording it."


def test_nodes_are_looked_at_only_when_asked_for(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    change(layout, state="ENDED", started_at=BEGAN, ended_at=BEGAN + 1)
    assert take_snapshot(layout, {}).nodes == ()


ROW: dict[str, Any] = dict.fromkeys(("scheduler", "site", "queue", "account", "job_mode"), "x") | {
    "number": 1,
    "scheduler_id": "7",
    "nodes": 1,
    "walltime_s": 60.0,
    "submitted_at": BEGAN,
    "outcome": None,
    "state": "RUNNING",
    "started_at": BEGAN,
    "deadline_at": None,
    "ended_at": None,
}


@pytest.mark.parametrize(
    ("row", "word", "standing", "reason"),
    [
        ({}, "OUT_OF_MEMORY", "died", "It ran out of memory. Its driver ended without recording it."),
        ({}, "TIMEOUT", "died", "Its walltime was over. Its driver ended without recording it."),
        ({"state": "SUBMITTED"}, "CANCELLED by 0", "cancelled", "It was cancelled by root."),
        ({"state": "SUBMITTED"}, "NODE_FAIL", "died", "A node of it failed. It ended before its driver had begun."),
        (
            {"state": "ENDED", "outcome": TOLD_TO_END},
            "CANCELLED by 0",
            "ended",
            "It was cancelled by root. Its driver recorded its end.",
        ),
        ({"state": "ENDED", "outcome": "the budget is spent"}, "COMPLETED", "ended", "the budget is spent"),
        ({"state": "ENDED", "outcome": TOLD_TO_END}, "REQUEUED", "queued", "It was put back into the queue."),
    ],
)
def test_why_an_allocation_ended(row: dict[str, Any], word: str, standing: str, reason: str) -> None:
    seen = view(ROW | row, status_of(word))
    assert (seen.standing, seen.reason) == (standing, reason)


def test_the_driver_still_says_so_when_it_was_told_to_end() -> None:
    assert f'"{TOLD_TO_END}"' in inspect.getsource(driver)


def test_time_left_is_from_the_deadline_or_else_from_the_scheduler() -> None:
    running = status_of("RUNNING", time_left_s=90)
    assert view(ROW, running).time_left_s == 90
    assert view(ROW | {"deadline_at": time.time() + 30}, running).time_left_s == pytest.approx(30, abs=2)
    assert view(ROW | {"state": "ENDED", "deadline_at": time.time() + 30}, None).time_left_s is None


@pytest.mark.parametrize(
    ("state", "seconds_ago", "said", "standing"),
    [
        ("RUNNING", 5, "PENDING", "running"),
        ("RUNNING", 500, "PENDING", "queued"),
        ("RUNNING", 5, "TIMEOUT", "died"),
        ("ENDED", 5, "PENDING", "ended"),
        ("ENDED", 500, "PENDING", "queued"),
    ],
)
def test_a_queued_that_was_heard_before_the_driver_began_or_ended_is_no_news(
    make_workflow: MakeWorkflow,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    seconds_ago: float,
    said: str,
    standing: str,
) -> None:
    layout = make_workflow()
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("slurm")))
    monkeypatch.setattr(schedulers, "status", lambda site, ids: {"7": status_of(said)})
    at = time.time() - seconds_ago
    row = ROW | {"state": state, "started_at": at, "ended_at": at, "outcome": TOLD_TO_END}
    heard = ask_schedulers({layout: [row]})[layout]
    assert view(row, heard[1]).standing == standing


def test_only_ends_that_the_driver_could_not_explain_are_asked_for(
    make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make_workflow()
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("slurm")))
    asked: list[str] = []

    def status(site: object, ids: list[str]) -> dict[str, AllocationStatus]:
        asked.extend(ids)
        return {}

    monkeypatch.setattr(schedulers, "status", status)
    ended = ROW | {"state": "ENDED"}
    rows = [ended | {"outcome": "done"}, ended | {"outcome": TOLD_TO_END, "scheduler_id": "8"}]
    ask_schedulers({layout: rows})
    assert asked == ["8"]


def test_status_shows_node_hours_trouble_and_each_node(
    make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make_workflow(objectives=(0.5,))
    change(layout, state="ENDED", nodes=2, started_at=BEGAN, ended_at=BEGAN + 3600)
    add(layout, "node", node("n1", "RELEASED", 1800), node("n2", "LOST", 900, "its agent was killed"))
    path = str(layout.root)
    assert run(hpcsearch_command, ["status", path], "hpcsearch") == 0
    text = capsys.readouterr().out
    assert "Node-hours   0.75 held, " in text
    assert "0.5 given back early" in text
    assert "n2 lost in allocation 1: its agent was killed" in text
    assert "n1" not in text
    assert run(hpcsearch_command, ["status", path, "--nodes"], "hpcsearch") == 0
    assert "n1    given back  2" in capsys.readouterr().out
    assert run(hpcsearch_command, ["status", path, "--format", "json"], "hpcsearch") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["node_hours"]["held"] == 0.75
    assert [(one["name"], one["state"], one["held_s"]) for one in values["nodes"]] == [
        ("n1", "given back", 1800),
        ("n2", "lost", 900),
    ]


def test_what_a_dead_allocation_had_under_way_counts_to_its_last_word(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    change(layout, state="RUNNING", scheduler_id="7", started_at=BEGAN)
    add(layout, "node", node("n1", "UP"))
    add(layout, "attempt", attempt(1, "n1", 0, 100), attempt(2, "n1", 0, 5000))  # the next one took over at 5000
    add(
        layout,
        "event",
        {"evaluation": 1, "attempt": 1, "allocation": 1, "state": State.FINISHED.value, "at": BEGAN + 100.0},
    )
    dead = {1: AllocationStatus(AllocationState.ENDED, "A node of it failed.", "NODE_FAIL", EndCause.NODE_FAILURE)}
    seen = take_snapshot(layout, dead, with_nodes=True)
    assert (seen.nodes[0].held_s, seen.nodes[0].busy_s) == (100, 100)
