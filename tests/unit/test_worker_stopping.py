"""How a run function's process learns that its evaluation is to end, and how its reports travel."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcsearch
from hpcsearch.evaluation import State
from hpcsearch.worker import context
from hpcsearch.worker.reports import LATER_S, SOON_S, ReportPipe, Rounds
from hpcsearch.worker.stopping import MARGIN_S, Ending, SharedFlag, Stopped, ending, never

STOPPING = st.sampled_from([State.STOPPED, State.INTERRUPTED])


# ---- the flag


@given(st.integers(1, 2**60), st.integers(1, 2**60), STOPPING)
def test_a_flag_is_raised_for_one_evaluation_alone(one: int, other: int, state: State) -> None:
    flag = SharedFlag()
    assert flag.of(one)() is None
    flag.raise_for(one, state)
    assert flag.of(one)() is state
    assert flag.of(other)() is (state if one == other else None)
    flag.lower_for(other)
    assert flag.of(one)() is (None if one == other else state)
    flag.lower_for(one)
    assert flag.of(one)() is None


def test_a_forked_process_sees_it() -> None:
    flag = SharedFlag()
    pid = os.fork()
    if pid == 0:
        while flag.of(3)() is not State.STOPPED:
            time.sleep(0.001)
        os._exit(17)
    flag.raise_for(3, State.STOPPED)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17


def test_processes_share_one_by_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "flag")
    raised, seen = SharedFlag(path), SharedFlag(path)
    raised.raise_for(5, State.INTERRUPTED)
    assert seen.of(5)() is State.INTERRUPTED
    assert SharedFlag(path).of(5)() is State.INTERRUPTED  # also for whoever comes later


# ---- when time ends


def test_which_end_comes_first() -> None:
    now_s = time.monotonic()
    by_walltime = ending(never, now_s + 100.0, 200.0, 5.0, False)
    assert by_walltime.at_state is State.INTERRUPTED and by_walltime.at_s == pytest.approx(now_s + 95.0, abs=1.0)
    by_limit = ending(never, now_s + 200.0, 100.0, 5.0, False)
    assert by_limit.at_state is State.TIMED_OUT and by_limit.at_s == pytest.approx(now_s + 95.0, abs=1.0)


def test_the_usual_margin() -> None:
    now_s = time.monotonic()
    assert ending(never, now_s + 1e6, None, None, False).at_s == pytest.approx(now_s + 1e6 - MARGIN_S, abs=1.0)
    assert ending(never, now_s + 100.0, None, None, False).at_s == pytest.approx(now_s + 90.0, abs=1.0)
    assert ending(never, math.inf, None, None, False).at_s == math.inf


# ---- what a run function asks


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards there is no evaluation again."""
    for name in ("current", "reporter", "world", "ending"):
        monkeypatch.setattr(context._Context, name, getattr(context._Context, name))


def enter(stop: Ending) -> None:
    context.enter(context.CurrentEvaluation(1, 1), lambda *_: None, ending=stop)


def test_by_hand_nothing_stops() -> None:
    assert hpcsearch.should_stop() is False
    hpcsearch.report(loss=1.0)


@pytest.mark.usefixtures("back")
def test_a_rules_decision() -> None:
    flag = SharedFlag()
    for raising in (False, True):
        stop = Ending(flag=flag.of(1), raising=raising)
        enter(stop)
        hpcsearch.report(loss=1.0)
        assert not hpcsearch.should_stop() and stop.told is None
        flag.raise_for(1, State.STOPPED)
        if raising:
            with pytest.raises(Stopped):
                hpcsearch.report(loss=1.0)
        else:
            hpcsearch.report(loss=1.0)
            assert stop.told is None and hpcsearch.should_stop()
        assert stop.told is State.STOPPED
        flag.lower_for(1)


@pytest.mark.usefixtures("back")
def test_the_end_of_time_is_asked_for_and_raises_nothing() -> None:
    stop = Ending(at_s=time.monotonic() - 1.0, at_state=State.TIMED_OUT, raising=True)
    enter(stop)
    hpcsearch.report(loss=1.0)
    assert hpcsearch.should_stop() and stop.told is State.TIMED_OUT
    interrupted = Ending(flag=lambda: State.INTERRUPTED, raising=True)
    enter(interrupted)
    hpcsearch.report(loss=1.0)
    assert hpcsearch.should_stop() and interrupted.told is State.INTERRUPTED


def test_stopped_passes_through_handlers_of_errors() -> None:
    assert not issubclass(Stopped, Exception)
    assert hpcsearch.Stopped is Stopped


# ---- reports


def test_a_full_pipe_is_announced_and_loses_nothing() -> None:
    read, write = os.pipe()
    full = threading.Event()
    pipe = ReportPipe(write, full.set)

    def send() -> None:
        for step in range(3000):
            pipe.send(["report", step, "x" * 50])
        os.close(write)

    sender = threading.Thread(target=send)
    sender.start()
    assert full.wait(60.0)
    with os.fdopen(read, "rb") as arrived:
        lines = arrived.read().splitlines()
    sender.join()
    assert [json.loads(line)[1] for line in lines] == list(range(3000))


def test_the_agent_looks_often_while_it_finds_something() -> None:
    rounds = Rounds()
    assert rounds.due_s == math.inf
    rounds.begin(10.0)
    assert rounds.due_s == 10.0 + SOON_S
    pauses = []
    for _ in range(6):
        rounds.looked(20.0, False, True)
        pauses.append(rounds.due_s - 20.0)
    assert pauses == sorted(pauses) and pauses[-1] == pytest.approx(LATER_S)
    rounds.looked(20.0, True, True)
    assert rounds.due_s == 20.0 + SOON_S
    rounds.looked(20.0, False, False)
    assert rounds.due_s == math.inf
