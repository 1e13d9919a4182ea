"""Evaluations on their way to slots and to their ends: how many, and what is recorded of them."""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.fleet import Fleet
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.successes import Successes
from hpcsearch.allocation.underway import UnderWay
from hpcsearch.evaluation import Evaluation, State

FACTS = {"cores": [[0]], "gpus": [], "memory_mb": 1}


class Slots:
    """Takes what an executor is told."""

    def __init__(self) -> None:
        self.given: list[tuple[Evaluation, Placement]] = []
        self.recalled: list[int] = []

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        self.given.append((evaluation, placement))

    def recall(self, evaluations: Iterable[int]) -> None:
        self.recalled += evaluations

    def empty(self, nodes: Iterable[str]) -> None: ...


class Records:
    """Takes what is recorded: of ends, whether they are final."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, State, bool]] = []
        self.requeues: list[int] = []

    def ended(self, evaluation: Evaluation, _placement: Placement, end: Ended, final: bool) -> None:
        self.ends.append((evaluation.id, end.state, final))

    def requeued(self, evaluation: Evaluation) -> None:
        self.requeues.append(evaluation.id)

    def started(self, *_: Any) -> None: ...
    def node(self, *_: Any, **__: Any) -> None: ...


class Pool(deque[Evaluation]):
    """Evaluations that wait, as many as there are."""

    end = ""
    left = math.inf
    take = deque.popleft
    put_back = deque.appendleft


class Bench:
    def __init__(self, waiting: int, max_success: int | None = None, smoke: bool = False, **settings: Any) -> None:
        usual: dict[str, Any] = {"job_mode": "serial", "evals_per_node": 2}
        plan = Plan("poly", "/x", 1, "local", "run", (), "/x", nodes=2, walltime_s=60.0, **{**usual, **settings})
        self.durations = Durations()
        self.slots, self.records, self.tests_failed = Slots(), Records(), list[tuple[int, str]]()
        self.loop = loop = Loop()
        executor: Any = self.slots
        recording: Any = self.records
        self.pool: Any = Pool(Evaluation(number, {"x": number}) for number in range(1, waiting + 1))
        self.fleet = Fleet(loop, plan, ["a", "b"], executor, recording)
        self.under_way = UnderWay(
            loop,
            plan,
            executor,
            self.fleet,
            recording,
            self.pool,
            Successes(0, max_success, smoke),
            self.durations,
            lambda evaluation, end: self.tests_failed.append((evaluation.id, end.in_words)),
        )
        for name in ("a", "b"):
            self.fleet.up(name, FACTS, 2)

    def place(self) -> list[int]:
        """What has been sent by now and has not ended."""
        self.under_way.place()
        return [evaluation.id for evaluation in self.under_way.evaluations]

    def end(self, identity: int, state: State = State.FINISHED, message: str = "no such file") -> None:
        evaluation, placement = next(one for one in reversed(self.slots.given) if one[0].id == identity)
        failure = None if state is State.FINISHED else {"kind": "OSError", "message": message, "traceback": ""}
        self.under_way.started(evaluation, placement, 1.0)
        self.under_way.ended(evaluation, placement, Ended(state, 1.0, 2.0, 1.0, failure=failure))


def test_no_more_than_may_be_needed_are_under_way() -> None:
    bench = Bench(waiting=9, max_success=3)
    assert bench.place() == [1, 2, 3]
    assert bench.under_way.demand.room == 0
    bench.end(1)
    assert bench.place() == [2, 3]
    bench.end(2, State.FAILED)
    assert bench.place() == [3, 4]
    bench.end(3)
    bench.end(4)
    assert (bench.place(), bench.under_way.end, bench.under_way.left) == ([], "3 evaluations have succeeded", 0)


def test_one_is_tested_alone_and_then_all_begin() -> None:
    bench = Bench(waiting=9, smoke=True)
    assert bench.place() == [1] and bench.place() == [1]
    assert bench.under_way.demand.room == math.inf  # what comes then is asked for in time
    bench.end(1)
    assert bench.place() == [2, 3, 4, 5]
    bench.end(2, State.FAILED)
    assert not bench.tests_failed


def test_a_test_that_fails_is_told_and_waits_to_be_run_again() -> None:
    bench = Bench(waiting=3, smoke=True, max_attempts=1)
    bench.place()
    bench.end(1, State.FAILED, "no such file:\n  data.csv.\n")
    assert bench.tests_failed == [(1, "failed (OSError: data.csv)")]
    assert (bench.records.ends, bench.records.requeues) == ([(1, State.FAILED, False)], [1])
    assert bench.pool[-1].failures == 0


@pytest.mark.parametrize(
    ("state", "terminating", "resumable", "told"),
    [
        (State.TIMED_OUT, False, False, True),
        (State.INTERRUPTED, False, False, True),
        (State.INTERRUPTED, True, False, False),
        (State.INTERRUPTED, False, True, False),
    ],
)
def test_other_ends_of_a_test(state: State, terminating: bool, resumable: bool, told: bool) -> None:
    bench = Bench(waiting=3, smoke=True, resumable=resumable)
    bench.place()
    bench.under_way.terminating = terminating
    bench.end(1, state)
    assert bool(bench.tests_failed) == told
    assert bench.records.ends == [(1, state, state is State.TIMED_OUT)]


def test_a_test_whose_node_is_lost_is_run_again_as_often_as_any() -> None:
    bench = Bench(waiting=1, smoke=True, max_attempts=2)
    bench.place()
    bench.end(1, State.LOST)
    assert not bench.tests_failed and bench.place() == [1]
    bench.end(1, State.LOST)
    assert [identity for identity, _ in bench.tests_failed] == [1]


@pytest.mark.parametrize(("retry", "attempts", "tries"), [(False, 3, 1), (True, 3, 3), (True, 1, 1)])
def test_what_fails_is_tried_again_where_that_was_asked_for(retry: bool, attempts: int, tries: int) -> None:
    bench = Bench(waiting=1, retry_failed=retry, max_attempts=attempts)
    while bench.place():
        bench.end(1, State.FAILED)
    assert bench.records.ends == [(1, State.FAILED, number == tries) for number in range(1, tries + 1)]


def test_slots_of_nodes_that_go_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(waiting=1)
    bench.place()
    assert bench.under_way.demand.free == 3
    monkeypatch.setattr(bench.fleet, "takers", lambda *_: ["b"])
    assert bench.under_way.demand.free == 2


@pytest.mark.parametrize(("job_mode", "counted"), [("serial", 1.0), ("mpi", 100.0)])
def test_the_time_of_a_launch_counts_where_time_is_judged(
    job_mode: str, counted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation that ran for 1 s, and ended 100 s after it had been sent off."""
    bench = Bench(waiting=1, job_mode=job_mode)
    bench.place()
    late_s = time.monotonic() + 100.0
    monkeypatch.setattr(time, "monotonic", lambda: late_s)
    bench.end(1)
    assert bench.durations.quantile(0.5) == pytest.approx(counted, abs=1.0 if job_mode == "mpi" else 0.0)


@pytest.mark.parametrize(
    ("settings", "sent"),
    [({}, 8), ({"job_mode": "mpi"}, 4), ({"data_parallel": "horovod"}, 4), ({"stopper": "asha"}, 4)],
)
def test_short_ones_wait_at_slots_which_run_them_one_by_one_and_nowhere_else(
    settings: dict[str, Any], sent: int
) -> None:
    bench = Bench(waiting=20, **settings)
    bench.durations.add(0.01)
    assert len(bench.place()) == sent


def test_what_follows_one_that_was_killed_is_not_taken_back_while_that_is_judged() -> None:
    """It is taken back from behind those alone that still run, and longer than usual."""
    bench = Bench(waiting=20)
    bench.durations.add(0.01)  # short ones: the next wait at the slots
    assert bench.place() == [1, 2, 3, 4, 5, 6, 7, 8]
    for identity in (1, 2):
        evaluation, placement = bench.slots.given[identity - 1]
        bench.under_way.started(evaluation, placement, 1.0)
    bench.under_way.ended(*bench.slots.given[0], Ended(State.FAILED, 1.0, 2.0, 1.0, killed_by=signal.SIGKILL))
    while not bench.slots.recalled:
        bench.loop.turn()
    assert bench.slots.recalled == [6]
