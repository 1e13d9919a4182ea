"""The driver's event loop: descriptors, timers and signals, each answered by a callback."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Callback = Callable[[], object]

#: Rows come and go by the thousand, and none of them in circles: Python need not look for circles as often as it does.
GARBAGE_THRESHOLD = 50_000


@dataclass(order=True)
class Timer:
    """A callback that is due at a moment of the monotonic clock; ``cancelled`` ones are passed over."""

    due_s: float
    order: int
    callback: Callback = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Loop:
    """Waits for what happens next, and calls who asked for it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.children: set[int] = set()  # processes that were started on purpose
        self._timers: list[Timer] = []
        self._order = itertools.count()

    def watch(self, fd: int, callback: Callback, *, writing: bool = False) -> None:
        """Calls back whenever ``fd`` can be read (or written)."""
        self._selector.register(fd, selectors.EVENT_WRITE if writing else selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Stops watching ``fd``; it may have been forgotten before."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Calls back once, ``delay_s`` from now."""
        timer = Timer(time.monotonic() + delay_s, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def on_signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Calls back with the number of each of these signals that arrives."""
        wakeup_in, wakeup_out = os.pipe()
        for fd in (wakeup_in, wakeup_out):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wakeup_out, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)

        def arrived() -> None:
            for number in set(os.read(wakeup_in, 4096)):
                callback(number)

        self.watch(wakeup_in, arrived)

    def turn(self) -> None:
        """Waits until something happens or a timer is due, and answers all that is there."""
        for key, _ in self._selector.select(self._patience_s()):
            key.data()
        now_s = time.monotonic()
        while self._timers and self._timers[0].due_s <= now_s:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()

    def _patience_s(self) -> float | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0].due_s - time.monotonic())
