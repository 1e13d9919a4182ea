"""The desk: the process beside the driver that launches evaluations under MPI, and tells how they end.

Each launch is a child that this process watches, so that the driver forks nothing and reads no output. It speaks JSON
lines with the driver, and when that has gone it ends all launches and itself.
``python -P -m hpcsearch.allocation.desk``
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpcsearch.allocation.launching import Launched, LaunchOrders
from hpcsearch.allocation.loop import Loop, Timer
from hpcsearch.allocation.mpirun import resolved
from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError
from hpcsearch.worker import telling
from hpcsearch.worker.channel import Channel, ClosedError, standard_channel
from hpcsearch.worker.processes import become_subreaper, kill_descendants, name_process, reaped

# Driver to desk.
OPEN = "open"  # launch: how ranks are started; launches_per_s
LAUNCH = "launch"  # orders
KILL = "kill"  # evaluation
# Desk to driver, beside what ranks tell.
READY = "ready"  # the launcher's kind and program
UNABLE = "unable"  # message: there is no launcher
GONE = "gone"  # evaluation, Gone

log = logging.getLogger(__name__)

#: A launcher that was told to end is killed after so long (seconds).
TERM_S = 2.0
#: Ranks that have not begun so long (seconds) after their launch are given up.
START_LIMIT_S = 120.0


@dataclass(frozen=True)
class Gone:
    """How a launch ended: the launcher's exit status, what it said last, and whether it was ended here, and why."""

    status: int
    last_lines: list[str]
    timed_out: bool = False
    never_began: bool = False
    announced: float | None = None
    killed_by: int | None = None


class Desk:
    """Holds all launches.

    Args:
        driver: who gives the orders.
    """

    def __init__(self, driver: Channel) -> None:
        self._driver = driver
        self._loop = Loop()
        self._launches: dict[int, Launched] = {}
        self._by_pid: dict[int, Launched] = {}
        self._waiting: deque[LaunchOrders] = deque()
        self._next_at_s = 0.0
        self._interval_s = 0.0
        self._timers: dict[int, Timer] = {}
        self._ending = self._writing = False
        self._launch = Launch()

    def work(self) -> None:
        """Runs until the driver has gone."""
        signals = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
        self._loop.on_signals(signals, self._hear)
        self._loop.watch(self._driver.read_fd, self._take_orders)
        try:
            while not self._ending:
                self._loop.turn()
        finally:
            for launched in self._launches.values():
                launched.terminate()
            end_s = time.monotonic() + TERM_S
            while self._by_pid and time.monotonic() < end_s:
                self._reap()
                time.sleep(0.01)
            kill_descendants(os.getpid())

    def _take_orders(self) -> None:
        try:
            messages = self._driver.receive()
        except ClosedError:
            self._ending = True
            return
        for message in messages:
            if message["op"] == OPEN:
                self._open(message)
            elif message["op"] == LAUNCH:
                self._waiting.append(LaunchOrders(**message["orders"]))
            else:
                self._kill(message["evaluation"])
        self._start_waiting()

    def _open(self, message: Mapping[str, Any]) -> None:
        kind, arguments, program = message["launch"]
        self._interval_s = 1.0 / message["launches_per_s"] if message["launches_per_s"] else 0.0
        try:
            self._launch = resolved(Launch(kind, tuple(arguments), program))
        except AllocationError as error:
            self._say([UNABLE, " ".join(part for part in (error.message, error.hint) if part)])
            return
        self._say([READY, self._launch.kind, self._launch.program])

    # ---- launches

    def _start_waiting(self) -> None:
        while self._waiting and time.monotonic() >= self._next_at_s:
            self._next_at_s = time.monotonic() + self._interval_s
            self._start(self._waiting.popleft())
        if self._waiting:
            self._loop.call_later(self._next_at_s - time.monotonic(), self._start_waiting)

    def _start(self, orders: LaunchOrders) -> None:
        launched = Launched(orders, self._launch, lambda message: self._told(launched, message))
        try:
            launched.start(self._loop)
        except OSError as error:
            self._say([GONE, orders.evaluation, asdict(Gone(127, [f"the launcher cannot be started: {error}"]))])
            return
        self._launches[orders.evaluation] = launched
        self._by_pid[launched.pid] = launched
        self._timer(launched, START_LIMIT_S, "never_began")

    def _timer(self, launched: Launched, delay_s: float, reason: str) -> None:
        identity = launched.orders.evaluation
        if identity in self._timers:
            self._timers[identity].cancelled = True

        def overdue() -> None:
            setattr(launched, reason, True)
            self._end(launched)

        self._timers[identity] = self._loop.call_later(delay_s, overdue)

    def _told(self, launched: Launched, message: list[Any]) -> None:
        if message[0] == telling.BEGUN:
            if launched.begun:
                return
            launched.begun = True
            if launched.orders.timeout_s is not None:
                self._timer(launched, launched.orders.timeout_s, "timed_out")
            else:
                self._timers[launched.orders.evaluation].cancelled = True
        elif message[0] == telling.FAILED:
            self._loop.call_later(0.05, lambda: self._end(launched))  # others may be about to tell the same
        self._say([message[0], launched.orders.evaluation, *message[1:]])

    def _kill(self, evaluation: int) -> None:
        waiting = next((orders for orders in self._waiting if orders.evaluation == evaluation), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._say([GONE, evaluation, asdict(Gone(0, [], never_began=True))])
        elif evaluation in self._launches:
            self._end(self._launches[evaluation])

    def _end(self, launched: Launched) -> None:
        if launched.pid in self._by_pid and not launched.ending:
            launched.terminate()
            self._loop.call_later(TERM_S, launched.kill)

    def _hear(self, number: int) -> None:
        # Other signals are the driver's affair, who tells what is to be done.
        if number == signal.SIGCHLD:
            self._reap()

    def _reap(self) -> None:
        for pid, status in reaped():
            launched = self._by_pid.pop(pid, None)
            if launched is not None:
                self._bury(launched, status)

    def _bury(self, launched: Launched, status: int) -> None:
        launched.finish(self._loop, kill_others=lambda: self._kill_orphans())
        identity = launched.orders.evaluation
        self._timers.pop(identity).cancelled = True
        del self._launches[identity]
        gone = Gone(
            os.waitstatus_to_exitcode(status),
            launched.last_lines,
            launched.timed_out,
            launched.never_began,
            launched.announced,
            launched.killed_by,
        )
        self._say([GONE, identity, asdict(gone)])

    def _kill_orphans(self) -> None:
        kill_descendants(os.getpid(), spare=frozenset(self._by_pid))

    # ---- talking

    def _say(self, message: list[Any]) -> None:
        self._driver.send(message)
        if not self._writing:
            self._flush()

    def _flush(self) -> None:
        try:
            done = self._driver.flush()
        except ClosedError:
            self._ending = True
            return
        if done == self._writing:
            self._writing = not done
            if self._writing:
                self._loop.watch(self._driver.write_fd, self._flush, writing=True)
            else:
                self._loop.forget(self._driver.write_fd)


def main() -> None:
    """The desk's process."""
    become_subreaper()
    name_process("hpcsearch-desk")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    Desk(standard_channel()).work()


if __name__ == "__main__":
    main()
