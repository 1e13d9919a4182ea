"""The lease: one driver writes, and those before it do not."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from workflow_bed import commit, dump, ended, new_database, started, take_lease

from hpcsearch.errors import LeaseLostError
from hpcsearch.workflow import lease, store
from hpcsearch.workflow.lease import Holder, StillnessWatch


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = new_database(tmp_path, [{"x": 1.0}, {"x": 2.0}], period_s=3.0)
    yield made
    made.dispose()


def now(engine: Engine) -> Holder:
    with engine.begin() as connection:
        return lease.holder(connection)


def test_a_free_lease_is_taken_and_given_back(engine: Engine) -> None:
    assert now(engine) == Holder(None, None, None, None, 0, 3.0)
    token = lease.take(engine, 1, 4242, now(engine))
    held = now(engine)
    assert (held.token, held.allocation, held.pid, held.period_s) == (token, 1, 4242, 3.0)
    assert held.host == os.uname().nodename
    assert token is not None
    lease.release(engine, token)
    assert now(engine).token is None


def test_of_two_who_saw_it_free_one_takes_it(engine: Engine) -> None:
    seen = now(engine)
    first = lease.take(engine, 1, 1, seen)
    assert first is not None
    assert lease.take(engine, 2, 2, seen) is None
    assert now(engine).token == first


def test_a_holder_that_moved_is_not_taken_over(engine: Engine) -> None:
    token = take_lease(engine)
    seen = now(engine)
    commit(engine, token)
    assert lease.take(engine, 2, 2, seen) is None
    assert lease.take(engine, 2, 2, now(engine)) is not None


def test_tokens_never_recur(engine: Engine) -> None:
    tokens = [take_lease(engine) for _ in range(20)]
    assert len(set(tokens)) == 20


def test_giving_back_what_another_holds_changes_nothing(engine: Engine) -> None:
    old = take_lease(engine)
    new = take_lease(engine, 2)
    lease.release(engine, old)
    assert now(engine).token == new


def test_every_commit_counts(engine: Engine) -> None:
    token = take_lease(engine)
    before = now(engine).counter
    for _ in range(3):
        commit(engine, token)
    assert now(engine).counter == before + 3


@pytest.mark.parametrize("write", range(5))
def test_one_that_was_taken_over_writes_nothing(engine: Engine, write: int) -> None:
    old = take_lease(engine)
    new = take_lease(engine, 2)
    batch = store.Batch(
        started=[started(1), started(2)],
        ended=[ended(1)],
        requeued=[{"evaluation": 2, "attempt": 1, "at": 0.0}],
        reports=[{"evaluation": 1, "attempt": 1, "step": None, "at": 0.0, "metrics": "{}"}],
        nodes=[{"name": "n1", "state": "UP"}],
    )
    writes = [
        lambda: commit(engine, old, batch, [{"x": 3.0}]),
        lambda: commit(engine, old),
        lambda: store.begin_allocation(engine, old, 1, 0.0),
        lambda: store.end_allocation(engine, old, 1, "the budget is spent", True),
        lambda: store.describe_problem(engine, old, ["y"], True),
    ]
    before = dump(engine)
    with pytest.raises(LeaseLostError, match="Another driver"):
        writes[write]()
    assert dump(engine) == before
    assert now(engine).token == new


@given(st.lists(st.tuples(st.floats(0.01, 4.0), st.booleans()), max_size=30), st.floats(0.1, 5.0))
def test_a_holder_is_dead_when_it_stood_still_for_two_periods(steps: list[tuple[float, bool]], period_s: float) -> None:
    watch = StillnessWatch()
    counter = itertools.count()
    mark, since_s, now_s = next(counter), 100.0, 100.0
    assert not watch.dead(Holder("t", 1, "h", 1, mark, period_s), now_s)
    for step_s, moved in steps:
        now_s += step_s
        if moved:
            mark, since_s = next(counter), now_s
        dead = watch.dead(Holder("t", 1, "h", 1, mark, period_s), now_s)
        assert dead is (now_s - since_s >= 2 * period_s)


def test_another_holder_begins_anew() -> None:
    watch = StillnessWatch()
    assert not watch.dead(Holder("a", 1, "h", 1, 5, 1.0), 0.0)
    assert not watch.dead(Holder("b", 2, "h", 1, 5, 1.0), 10.0)
    assert watch.dead(Holder("b", 2, "h", 1, 5, 1.0), 12.0)
