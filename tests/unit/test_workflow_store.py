"""What is written: exact budgets, ids that never recur, whole commits, and what a dead driver had running."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from workflow_bed import allocation_row, commit, dump, ended, finish, new_database, started, take_lease

from hpcsearch.evaluation import State
from hpcsearch.workflow import queries, schema, store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = new_database(tmp_path, [{"x": float(number)} for number in range(1, 6)])
    yield made
    made.dispose()


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def no_waiting_for_the_disk(engine: Engine) -> None:
    connection = engine.raw_connection()
    connection.cursor().execute("PRAGMA synchronous=OFF")
    connection.close()


def states(engine: Engine) -> list[str]:
    return [row["state"] for row in rows(engine, "evaluation")]


def test_the_initial_design_is_there_from_the_beginning(engine: Engine) -> None:
    evaluations = rows(engine, "evaluation")
    assert [row["id"] for row in evaluations] == [1, 2, 3, 4, 5]
    assert {row["state"] for row in evaluations} == {State.PROPOSED}
    assert json.loads(evaluations[0]["configuration"]) == {"x": 1.0}
    workflow = rows(engine, "workflow")[0]
    assert (workflow["claimed"], workflow["next_id"], workflow["schema_version"]) == (5, 6, schema.SCHEMA_VERSION)


CLAIMS = st.lists(
    st.tuples(st.just("claim"), st.integers(0, 7)) | st.tuples(st.just("budget"), st.none() | st.integers(0, 30)),
    max_size=10,
)


@settings(max_examples=25)
@given(initial=st.integers(0, 6), budget=st.none() | st.integers(0, 20), actions=CLAIMS)
def test_a_budget_is_never_exceeded_and_always_used_up(
    initial: int, budget: int | None, actions: list[tuple[str, int | None]]
) -> None:
    fresh = iter(range(1000))
    expected: list[dict[str, int]] = []

    def room(wanted: int) -> int:
        return wanted if budget is None else min(wanted, max(0, budget - len(expected)))

    with tempfile.TemporaryDirectory() as folder:
        design = [{"x": next(fresh)} for _ in range(initial)]
        engine = new_database(Path(folder), design, max_evals=budget)
        no_waiting_for_the_disk(engine)
        expected += design[: room(initial)]
        token = take_lease(engine)
        for action, value in actions:
            if action == "budget":
                budget = value
                store.change_budget(engine, budget)
                continue
            wanted = [{"x": next(fresh)} for _ in range(value or 0)]
            accepted = commit(engine, token, None, wanted)
            first = len(expected) + 1
            assert accepted == list(enumerate(wanted[: room(len(wanted))], start=first))
            expected += wanted[: room(len(wanted))]
        evaluations = rows(engine, "evaluation")
        assert [row["id"] for row in evaluations] == list(range(1, len(expected) + 1))
        assert [json.loads(row["configuration"]) for row in evaluations] == expected
        workflow = rows(engine, "workflow")[0]
        assert (workflow["claimed"], workflow["max_evals"]) == (len(expected), budget)
        engine.dispose()


def test_ids_do_not_recur_when_rows_are_gone(engine: Engine) -> None:
    token = take_lease(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM evaluation WHERE id > 3"))
    assert commit(engine, token, None, [{"x": 9.0}]) == [(6, {"x": 9.0})]


def test_a_failing_commit_leaves_nothing(engine: Engine) -> None:
    token = take_lease(engine)
    before = dump(engine)
    twice = store.Batch(started=[started(1), started(1)])
    with pytest.raises(IntegrityError):
        commit(engine, token, twice, [{"x": 9.0}])
    assert dump(engine) == before


def test_beginning_and_end_in_two_commits_and_in_one_are_the_same(tmp_path: Path) -> None:
    told = []
    begin, end = started(1, at=100.0), ended(1, started_at=100.0, ended_at=101.0, gathered_at=102.0)
    for name, batches in {
        "one": [store.Batch(started=[begin], ended=[end])],
        "two": [store.Batch(started=[begin]), store.Batch(ended=[end])],
    }.items():
        (tmp_path / name).mkdir()
        engine = new_database(tmp_path / name, [{"x": 1.0}])
        token = take_lease(engine)
        for batch in batches:
            commit(engine, token, batch)
        evaluation = rows(engine, "evaluation")[0] | {"proposed_at": 0.0}
        attempt = rows(engine, "attempt")[0]
        assert attempt.pop("token") == token
        events = [(row["evaluation"], row["attempt"], row["state"], row["at"]) for row in rows(engine, "event")]
        told.append((evaluation, attempt, events))
        engine.dispose()
    assert told[0] == told[1]
    evaluation, attempt, events = told[0]
    assert (evaluation["state"], evaluation["objective"], evaluation["gathered_at"]) == ("FINISHED", 1.0, 102.0)
    assert (attempt["number"], attempt["state"], attempt["started_at"], attempt["ended_at"]) == (
        1,
        "FINISHED",
        100.0,
        101.0,
    )
    assert events == [(1, 1, "RUNNING", 100.0), (1, 1, "FINISHED", 101.0)]


def test_another_attempt_keeps_the_history_of_the_first(engine: Engine) -> None:
    token = take_lease(engine)
    lost = {
        "state": State.LOST.value,
        "objective": None,
        "failures": 1,
        "error_kind": "NodeLost",
        "error_message": "gone",
    }
    begun, over = started(2, at=1.0), ended(2, final=False, started_at=1.0, ended_at=2.0, **lost)
    requeued = {"evaluation": 2, "attempt": 1, "at": 3.0}
    commit(engine, token, store.Batch(started=[begun], ended=[over], requeued=[requeued]))
    with engine.begin() as connection:
        (again,) = [one for one in queries.unfinished(connection) if one.id == 2]
    assert (again.state, again.attempt, again.failures) == (State.PROPOSED, 1, 1)
    finish(engine, token, ended(2, 2, failures=1, objective=7.0, started_at=4.0, ended_at=5.0))
    row = rows(engine, "evaluation")[1]
    assert (row["state"], row["attempt"], row["objective"], row["failures"]) == ("FINISHED", 2, 7.0, 1)
    assert row["error_kind"] is None
    with engine.begin() as connection:
        attempts = queries.attempts(connection, 2)
    assert [(one["number"], one["state"], one["error_kind"]) for one in attempts] == [
        (1, "LOST", "NodeLost"),
        (2, "FINISHED", None),
    ]
    history = [(row["attempt"], row["state"]) for row in rows(engine, "event")]
    assert history == [(1, "RUNNING"), (1, "LOST"), (1, "PROPOSED"), (2, "RUNNING"), (2, "FINISHED")] or sorted(
        history
    ) == sorted([(1, "RUNNING"), (1, "LOST"), (1, "PROPOSED"), (2, "RUNNING"), (2, "FINISHED")])


def test_reports_and_nodes(engine: Engine) -> None:
    token = take_lease(engine)
    report = {"evaluation": 1, "attempt": 1, "step": 2.0, "at": 5.0, "metrics": '{"loss": 1.0}'}
    up = {"name": "n1", "state": "UP", "slots": 4, "held_from_at": 1.0}
    gone = {"name": "n1", "state": "RELEASED", "held_to_at": 9.0, "busy_s": 3.5}
    commit(engine, token, store.Batch(reports=[report, report | {"step": None}], nodes=[up]))
    commit(engine, token, store.Batch(nodes=[gone, {"name": "n2", "state": "UP"}]))
    with engine.begin() as connection:
        assert [row["step"] for row in queries.reports(connection, 1)] == [2.0, None]
        first, second = queries.node_rows(connection, 1)
        assert queries.node_rows(connection, 2) == []
    assert (first["state"], first["slots"], first["held_from_at"], first["held_to_at"]) == ("RELEASED", 4, 1.0, 9.0)
    assert (second["name"], second["state"], second["busy_s"]) == ("n2", "UP", None)


def test_what_a_dead_driver_had_running_is_to_be_run_again(engine: Engine) -> None:
    token = take_lease(engine)
    store.begin_allocation(engine, token, 1, 1000.0)
    finish(engine, token, ended(1))
    interrupted = ended(3, final=False, state=State.INTERRUPTED.value, objective=None)
    commit(engine, token, store.Batch(started=[started(2), started(3)], ended=[interrupted]))
    store.add_allocation(engine, allocation_row(2))
    other = take_lease(engine, 2)
    before_s = time.time()
    store.begin_allocation(engine, other, 2, 2000.0)
    assert states(engine) == ["FINISHED", "PROPOSED", "PROPOSED", "PROPOSED", "PROPOSED"]
    attempts = {row["evaluation"]: row for row in rows(engine, "attempt")}
    assert [attempts[number]["state"] for number in (1, 2, 3)] == ["FINISHED", "INTERRUPTED", "INTERRUPTED"]
    assert attempts[2]["ended_at"] >= before_s
    history = [row["state"] for row in rows(engine, "event") if row["evaluation"] == 2]
    assert history == ["RUNNING", "INTERRUPTED", "PROPOSED"]
    with engine.begin() as connection:
        left = queries.unfinished(connection)
    assert [(one.id, one.attempt, one.failures) for one in left] == [(2, 1, 0), (3, 1, 0), (4, 0, 0), (5, 0, 0)]


def test_the_zero_of_a_search_is_when_its_first_driver_began(engine: Engine) -> None:
    token = take_lease(engine)
    store.begin_allocation(engine, token, 1, 1000.0)
    started_at = rows(engine, "workflow")[0]["started_at"]
    store.end_allocation(engine, token, 1, "the walltime is near its end", False)
    workflow, allocation = rows(engine, "workflow")[0], rows(engine, "allocation")[0]
    assert (workflow["outcome"], workflow["finished_at"]) == ("the walltime is near its end", None)
    assert (allocation["state"], allocation["deadline_at"]) == ("ENDED", 1000.0)
    store.begin_allocation(engine, token, 1, 3000.0)
    workflow, allocation = rows(engine, "workflow")[0], rows(engine, "allocation")[0]
    assert workflow["started_at"] == started_at and workflow["outcome"] is None
    assert (allocation["state"], allocation["ended_at"], allocation["deadline_at"]) == ("RUNNING", None, 3000.0)
    store.end_allocation(engine, token, 1, "the budget is spent", True)
    assert rows(engine, "workflow")[0]["finished_at"] is not None
    store.change_budget(engine, 80)
    workflow = rows(engine, "workflow")[0]
    assert (workflow["finished_at"], workflow["outcome"], workflow["max_evals"]) == (None, None, 80)


def test_allocations_count_from_one(engine: Engine) -> None:
    with engine.begin() as connection:
        assert store.next_allocation(connection) == 2
    store.add_allocation(engine, allocation_row(2))
    store.update_allocation(engine, 2, scheduler_id="4711")
    assert [row["scheduler_id"] for row in rows(engine, "allocation")] == [None, "4711"]
    assert rows(engine, "allocation")[1]["state"] == "SUBMITTED"
    with engine.begin() as connection:
        assert store.next_allocation(connection) == 3


def test_what_a_problem_says_later(engine: Engine) -> None:
    store.describe_problem(engine, take_lease(engine), ["lr", "units"], True)
    workflow = rows(engine, "workflow")[0]
    assert (json.loads(workflow["names"]), workflow["minimize"]) == (["lr", "units"], 1)


def test_an_empty_batch_is_false() -> None:
    assert not store.Batch()
    assert store.Batch(requeued=[{}])


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.text(st.characters(codec="utf-8"), max_size=5) | st.integers() | st.floats(allow_nan=False) | st.booleans(),
        max_size=3,
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_configurations_and_objectives_come_back_exactly(configuration: dict[str, Any], objective: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = new_database(Path(folder), [configuration])
        finish(engine, take_lease(engine), ended(1, objective=objective))
        with engine.begin() as connection:
            assert list(queries.outcomes(connection)) == [[(configuration, objective, False)]]
        engine.dispose()
