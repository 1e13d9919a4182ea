"""What is read from the database."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from workflow_bed import commit, ended, finish, new_database, started, take_lease

from hpcsearch.evaluation import State
from hpcsearch.workflow import queries, store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Evaluations: 1-3 finished with objectives 2, 5 and 5; 4 failed, 5 runs, 6 was cancelled, 7 waits."""
    made = new_database(tmp_path, [{"x": number} for number in range(1, 8)])
    token = take_lease(made)
    finish(
        made,
        token,
        *(ended(n, objective=o, gathered_at=10.0 + n, duration_s=float(n)) for n, o in ((1, 2.0), (2, 5.0), (3, 5.0))),
        ended(4, state=State.FAILED.value, objective=None, gathered_at=9.0, failures=1, error_kind="ValueError"),
    )
    commit(made, token, store.Batch(started=[started(5)]))
    with made.begin() as connection:
        connection.exec_driver_sql("UPDATE evaluation SET state = 'CANCELLED' WHERE id = 6")
    yield made
    made.dispose()


def test_states_are_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        assert queries.count_states(connection) == {
            State.FINISHED: 3,
            State.FAILED: 1,
            State.RUNNING: 1,
            State.CANCELLED: 1,
            State.PROPOSED: 1,
        }


@pytest.mark.parametrize(("minimize", "ids"), [(False, [2, 3, 1]), (True, [1, 2, 3])])
def test_the_best_come_first_and_the_earlier_of_equals(engine: Engine, minimize: bool, ids: list[int]) -> None:
    with engine.begin() as connection:
        assert [row["id"] for row in queries.best(connection, minimize, 10)] == ids
        assert [row["id"] for row in queries.best(connection, minimize, 2)] == ids[:2]


def test_what_is_still_to_be_run(engine: Engine) -> None:
    with engine.begin() as connection:
        left = queries.unfinished(connection)
    assert [(one.id, one.state, one.attempt, one.configuration) for one in left] == [
        (5, State.RUNNING, 1, {"x": 5}),
        (7, State.PROPOSED, 0, {"x": 7}),
    ]


def test_the_latest_durations_come_first(engine: Engine) -> None:
    with engine.begin() as connection:
        assert queries.recent_durations(connection) == [3.0, 2.0, 1.0]
        assert queries.recent_durations(connection, 2) == [3.0, 2.0]


def test_outcomes_come_in_the_order_of_gathering(engine: Engine) -> None:
    with engine.begin() as connection:
        (page,) = queries.outcomes(connection)
    told = [({"x": 4}, None), ({"x": 1}, 2.0), ({"x": 2}, 5.0), ({"x": 3}, 5.0)]
    assert page == [(*outcome, False) for outcome in told]


def test_one_evaluation(engine: Engine) -> None:
    with engine.begin() as connection:
        row = queries.evaluation_row(connection, 4)
        assert row is not None and row["error_kind"] == "ValueError"
        assert queries.evaluation_row(connection, 99) is None


@settings(max_examples=25)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(1, 5))
def test_pages_hold_everything_once(gathered: list[int], page: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = new_database(Path(folder), [{"x": number} for number, _ in enumerate(gathered)])
        if gathered:
            at = [ended(number, gathered_at=float(when)) for number, when in enumerate(gathered, start=1)]
            finish(engine, take_lease(engine), *at)
        with engine.begin() as connection:
            pages = list(queries.outcomes(connection, page))
            expected = sorted((when, number) for number, when in enumerate(gathered))
            assert [row[0]["x"] for one in pages for row in one] == [number for _, number in expected]
            assert all(len(one) == page for one in pages[:-1])
            ids: list[int] = []
            while rows := queries.evaluations(connection, after=ids[-1] if ids else 0, page=page):
                assert len(rows) <= page
                ids += [row["id"] for row in rows]
            assert ids == list(range(1, len(gathered) + 1))
        engine.dispose()


def test_outcomes_have_all_objectives_of_those_with_several(tmp_path: Path) -> None:
    engine = new_database(tmp_path, [{"x": number} for number in range(4)])
    several = {"accuracy": 0.5, "latency": 3.0, "objectives": ["accuracy", "latency:min"], "note": "a"}
    finish(
        engine,
        take_lease(engine),
        ended(1, objective=0.5, metadata=json.dumps(several)),
        ended(2, objective=0.25, metadata=json.dumps({"note": "objectives"})),
        ended(3, objective=0.75, metadata=None),
        ended(4, objective=None, metadata=json.dumps(several)),
    )
    with engine.connect() as connection:
        (page,) = queries.outcomes(connection)
    engine.dispose()
    assert [value for _, value, _ in page] == [{"accuracy": 0.5, "latency:min": 3.0}, 0.25, 0.75, None]
