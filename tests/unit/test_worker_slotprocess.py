"""The agent's side of a slot: who holds which evaluation; and how a process's end is told."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.evaluation import Failure, State
from hpcsearch.worker import slot as slot_module
from hpcsearch.worker import telling
from hpcsearch.worker.evaluating import evaluate
from hpcsearch.worker.protocol import Share
from hpcsearch.worker.slot import SlotOrders
from hpcsearch.worker.slotprocess import SlotProcess, Task, describe_end
from hpcsearch.worker.stopping import Ending, Stopped

ORDERS = SlotOrders(0, "model.py:run", ("x",), "/", "/nowhere", math.inf, None, 0)


def make() -> SlotProcess:
    return SlotProcess(ORDERS, Share((0,), 1, (), True), "CUDA_VISIBLE_DEVICES", 1000)


def take_one(slot: SlotProcess) -> bytes:
    """What the slot's process does when it is free."""
    return slot._unread.recv(slot_module.MAX_COMMAND_BYTES)


def close(slot: SlotProcess) -> None:
    slot._commands.close()
    slot._unread.close()


@pytest.fixture
def slot() -> Iterator[SlotProcess]:
    made = make()
    yield made
    close(made)


@settings(max_examples=80)
@given(
    identities=st.lists(st.integers(1, 30), unique=True, max_size=8),
    wanted=st.none() | st.frozensets(st.integers(1, 30)),
    taken=st.integers(0, 3),
)
def test_what_has_begun_stays_and_the_rest_keeps_its_order(
    identities: list[int], wanted: frozenset[int] | None, taken: int
) -> None:
    slot = make()
    try:
        for identity in identities:
            slot.give(Task(identity, 1, {"x": identity}))
        begun, waiting = identities[:taken], identities[taken:]
        for _ in begun:
            take_one(slot)
        back = slot.take_back(wanted)
        expected = [identity for identity in waiting if wanted is None or identity in wanted]
        assert [task.id for task in back] == expected
        assert all(task.configuration == {"x": task.id} for task in back)
        kept = [identity for identity in waiting if identity not in expected]
        assert list(slot.sent) == [*begun, *kept]
        assert [task.id for task in slot.take_back()] == kept
        assert list(slot.sent) == begun
    finally:
        close(slot)


def test_what_the_process_was_at_when_it_died(slot: SlotProcess) -> None:
    assert slot.current() is None
    for identity in (4, 5, 6):
        slot.give(Task(identity, 1, {}))
    assert slot.current() is None  # nothing was taken yet
    take_one(slot)
    assert slot.current() == Task(4, 1, {})
    assert list(slot.sent) == [5, 6]  # for the process that follows
    assert take_one(slot) == b"[5, 1, {}]"


def test_the_largest_message_is_read_whole(slot: SlotProcess) -> None:
    configuration = {"x": "a" * 100_000}
    slot.give(Task(1, 1, configuration))
    assert slot.take_back()[0].configuration == configuration


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("exit 0", "ProcessExit", "exit code 0"),
        ("exit 137", "ProcessExit", "exit code 137"),
        (signal.SIGSEGV, "SIGSEGV", "signal 11 (SIGSEGV)"),
        (signal.SIGKILL, "SIGKILL", "signal 9"),
        (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}", f"killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_ends_are_described(code: str | int, kind: str, words: str) -> None:
    status = int(code.split()[1]) << 8 if isinstance(code, str) else int(code)
    told = describe_end(status, out_of_memory=False)
    assert told["kind"] == kind and words in told["message"]
    assert Failure(**told).traceback == ""


def test_out_of_memory_is_named_where_the_kernel_killed_for_it() -> None:
    assert describe_end(signal.SIGKILL, out_of_memory=True)["kind"] == "OutOfMemory"
    assert describe_end(signal.SIGSEGV, out_of_memory=True)["kind"] == "SIGSEGV"


def test_kills_for_want_of_memory_are_counted() -> None:
    from hpcsearch.worker.slotprocess import _oom_kills

    assert _oom_kills() >= 0
    assert "oom_kill " in Path("/proc/vmstat").read_text()


class TestOneEvaluation:
    """What the slot's process tells of a call: state, start, end, duration, objective, metadata, failure."""

    def test_a_result(self) -> None:
        told = evaluate(lambda c: {"objective": c["x"], "loss": 0.5}, {"x": 2.0}, Ending())
        state, started_at, ended_at, duration_s, objective, metadata, failure = told
        assert (state, objective, metadata, failure) == (State.FINISHED, 2.0, {"loss": 0.5}, None)
        assert ended_at - started_at == pytest.approx(duration_s, abs=1e-6)

    def test_no_metadata_is_none(self) -> None:
        assert evaluate(lambda _: 1, {}, Ending())[5] is None

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (ValueError("it diverged"), "it diverged"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            (SystemExit(3), "the run function called sys.exit(3)"),
            (GeneratorExit("odd"), "odd"),
        ],
    )
    def test_whatever_is_raised_is_told(self, error: BaseException, message: str) -> None:
        def run(_: object) -> float:
            raise error

        told = evaluate(run, {}, Ending())
        assert told[0] == State.FAILED and told[4:6] == [None, None]
        assert told[6]["kind"] == type(error).__name__ and message in told[6]["message"]


class TestStoppedEvaluation:
    """What the slot's process tells of one that was asked to end."""

    @pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])
    def test_one_that_returns(self, state: State) -> None:
        stop = Ending(flag=lambda: state)
        told = evaluate(lambda _: {"objective": 0.5, "asked": stop.asked()}, {}, stop)
        # At the end of its time a run function returns what it has: that is its result.
        assert told[0] == (State.STOPPED if state is State.STOPPED else State.FINISHED)
        assert told[4:] == [0.5, {"asked": True}, None]

    def test_one_that_does_not_look_finishes(self) -> None:
        assert evaluate(lambda _: 0.5, {}, Ending(flag=lambda: State.STOPPED))[0] == State.FINISHED

    @pytest.mark.parametrize(
        ("told", "state"),
        [
            (None, State.STOPPED),
            (State.STOPPED, State.STOPPED),
            (State.INTERRUPTED, State.INTERRUPTED),
            (State.TIMED_OUT, State.TIMED_OUT),
        ],
    )
    def test_one_that_raises(self, told: State | None, state: State) -> None:
        def run(_: object) -> float:
            raise Stopped("no progress")

        answer = evaluate(run, {}, Ending(told=told))
        assert answer[0] == state and answer[4:6] == [None, None]
        assert answer[6] == {"kind": "Stopped", "message": "no progress", "traceback": ""}

    def test_one_that_fails_afterwards_has_failed(self) -> None:
        stop = Ending(flag=lambda: State.STOPPED)

        def run(_: object) -> float:
            raise ValueError(stop.asked())

        assert evaluate(run, {}, stop)[0] == State.FAILED


def test_numpy_scalars_are_numbers_and_the_rest_is_refused() -> None:
    import numpy as np

    assert telling.encode(["report", np.float32(0.5), np.int64(3), np.bool_(True)]) == '["report",0.5,3,true]'
    with pytest.raises(TypeError, match="set"):
        telling.encode({1, 2})


def test_the_environment_and_the_folder_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("DROPPED", "before")
    restore = slot_module._Restorer()
    os.environ["KEPT"] = "after"
    os.environ["NEW"] = "1"
    del os.environ["DROPPED"]
    os.chdir("/")
    restore()
    assert (os.environ["KEPT"], os.environ["DROPPED"]) == ("before", "before")
    assert "NEW" not in os.environ and Path.cwd() == tmp_path
