"""What may still be started in the time that is left."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation import clock as module
from hpcsearch.allocation.clock import Clock, deadline_at
from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.plan import Plan

PLAN = Plan("poly", "/w/poly", 1, "local", "run.py:run", ("x",), "/w", "serial", 1, 600.0, grace_s=10.0)
EPOCH = 1_700_000_000.0


class FakeTime:
    """Clocks that stand still until told."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def module(self) -> SimpleNamespace:
        return SimpleNamespace(monotonic=lambda: 50.0 + self.passed_s, time=lambda: EPOCH + self.passed_s)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(module, "time", fake.module())
    return fake


def make(durations: list[float] | None = None, **changes: object) -> Clock:
    plan = dataclasses.replace(PLAN, **changes)  # type: ignore[arg-type]
    return Clock(plan, EPOCH + plan.walltime_s, Durations(durations or []))


def test_the_job_script_tells_when_the_allocation_ends(time: FakeTime) -> None:
    assert deadline_at(PLAN, {"HPCSEARCH_DEADLINE": "1700000123.5"}) == 1700000123.5
    assert deadline_at(PLAN, {}) == deadline_at(PLAN, {"HPCSEARCH_DEADLINE": ""}) == EPOCH + 600.0


def test_a_grace_is_kept_free_but_no_more_than_a_quarter(time: FakeTime) -> None:
    assert make().time_left_s == pytest.approx(590.0)
    assert make(walltime_s=8.0).time_left_s == pytest.approx(6.0)


def test_with_nothing_known_everything_starts(time: FakeTime) -> None:
    clock = make()
    assert clock.expected_s() is None and clock.may_start()
    time.passed_s = 589.0
    assert clock.may_start()
    time.passed_s = 590.5
    assert not clock.may_start()


@pytest.mark.parametrize(
    ("durations", "limit_s", "expected_s"),
    [([], 30.0, 30.0), ([100.0] * 10, None, 100.0), ([100.0] * 10, 30.0, 30.0), ([10.0] * 10, 30.0, 10.0)],
)
def test_what_is_expected(time: FakeTime, durations: list[float], limit_s: float | None, expected_s: float) -> None:
    clock = make(durations, eval_timeout_s=limit_s)
    assert clock.expected_s() == expected_s
    time.passed_s = 590.0 - expected_s - 0.5
    assert clock.may_start()
    assert clock.next_change_s() == pytest.approx(0.5)
    time.passed_s += 1.0
    assert not clock.may_start()


def test_most_of_those_before_count_not_the_longest(time: FakeTime) -> None:
    assert make([1.0] * 95 + [1000.0] * 5).expected_s() == 1.0
    assert make([1.0] * 80 + [400.0] * 20).expected_s() == 400.0


def test_what_continues_later_may_always_begin(time: FakeTime) -> None:
    clock = make([1000.0] * 10, resumable=True)
    assert clock.may_start()
    time.passed_s = 589.0
    assert clock.may_start() and clock.next_change_s() == pytest.approx(1.0)
    time.passed_s = 591.0
    assert not clock.may_start() and clock.next_change_s() == math.inf


def test_somebody_else_ends_the_allocation(time: FakeTime) -> None:
    clock = make()
    clock.shorten(5.0)
    assert clock.time_left_s == pytest.approx(5.0)
    clock.shorten(100.0)  # nobody gives more time
    assert clock.time_left_s == pytest.approx(5.0)


def test_durations_that_are_learned_later(time: FakeTime) -> None:
    clock = make()
    clock.use(Durations([600.0]))
    assert not clock.may_start()


@given(
    st.lists(st.floats(0.001, 2000), max_size=20),
    st.none() | st.floats(0.1, 2000),
    st.booleans(),
    st.floats(0, 700),
)
def test_may_start_turns_false_when_it_was_said_to(
    durations: list[float], limit_s: float | None, resumable: bool, passed_s: float
) -> None:
    fake = FakeTime()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", fake.module())
        clock = make(durations, eval_timeout_s=limit_s, resumable=resumable)
        fake.passed_s = passed_s
        change_s = clock.next_change_s()
        assert change_s >= 0
        if not clock.may_start():
            assert clock.time_left_s <= (clock.expected_s() or 0.0) or resumable
            return
        fake.passed_s = passed_s + max(0.0, change_s - 1e-3)
        assert clock.may_start() or change_s < 2e-3
        fake.passed_s = passed_s + change_s + 1e-3
        assert not clock.may_start()
