"""The driver's event loop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation.loop import Loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Puts the handling of signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_descriptor_that_can_be_read_is_answered(pipe: tuple[int, int]) -> None:
    loop, read = Loop(), []
    loop.watch(pipe[0], lambda: read.append(os.read(pipe[0], 100)))
    os.write(pipe[1], b"hello")
    loop.turn()
    assert read == [b"hello"]
    loop.forget(pipe[0])
    loop.forget(pipe[0])  # no harm
    os.write(pipe[1], b"unheard")
    loop.call_later(0.0, lambda: None)
    loop.turn()
    assert read == [b"hello"]


def test_a_descriptor_that_can_be_written_is_answered(pipe: tuple[int, int]) -> None:
    loop, called = Loop(), []
    loop.watch(pipe[1], lambda: called.append(1), writing=True)
    loop.turn()
    assert called == [1]


@given(st.lists(st.sampled_from([0.0, 0.001, 0.002, 0.003]), max_size=8))
def test_timers_come_in_their_order(delays: list[float]) -> None:
    loop, called = Loop(), []
    due = []
    for number, delay_s in enumerate(delays):
        timer = loop.call_later(delay_s, lambda number=number: called.append(number))  # type: ignore[misc]
        due.append((timer.due_s, number))
    while len(called) < len(delays):
        loop.turn()
        assert all(when <= time.monotonic() for when, number in due if number in called)
    assert called == [number for _, number in sorted(due)]


def test_a_cancelled_timer_is_neither_called_nor_waited_for() -> None:
    loop, called = Loop(), []
    loop.call_later(0.001, lambda: called.append("cancelled")).cancelled = True
    loop.call_later(0.02, lambda: called.append("kept"))
    loop.turn()
    assert called == ["kept"]


def test_a_timer_may_start_another(pipe: tuple[int, int]) -> None:
    loop, called = Loop(), []

    def again() -> None:
        called.append(1)
        if len(called) < 3:
            loop.call_later(0.0, again)

    loop.call_later(0.0, again)
    while len(called) < 3:
        loop.turn()


def test_a_timer_is_not_held_up_by_what_never_comes(pipe: tuple[int, int]) -> None:
    loop, called = Loop(), []
    loop.watch(pipe[0], lambda: called.append("read"))
    loop.call_later(0.01, lambda: called.append("timer"))
    started_s = time.monotonic()
    loop.turn()
    assert called == ["timer"] and time.monotonic() - started_s < 5.0


def test_signals_are_answered_in_the_loop(own_signals: None) -> None:
    loop: Loop = Loop()
    heard: list[int] = []
    loop.on_signals((signal.SIGUSR1, signal.SIGUSR2), heard.append)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard == []
    loop.turn()
    assert sorted(heard) == [signal.SIGUSR1, signal.SIGUSR2]
    signal.set_wakeup_fd(-1)
