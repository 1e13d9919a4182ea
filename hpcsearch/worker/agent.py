"""The agent: one process on each node, started by the driver through the launcher, for all that runs on the node.

It speaks with the driver over its standard input and output (see ``protocol``), and ends, with everything below it,
when that ends. ``python -P -m hpcsearch.worker.agent``
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcsearch.evaluation import State
from hpcsearch.worker import protocol, storage
from hpcsearch.worker.channel import Channel, ClosedError, standard_channel
from hpcsearch.worker.environment import LAUNCH_VARIABLE, own_cores, scrubbed, visible_gpus
from hpcsearch.worker.processes import (
    become_subreaper,
    kill_descendants,
    kill_marked,
    name_process,
    reap_children,
    reaped,
)
from hpcsearch.worker.ranks import Ranks
from hpcsearch.worker.reports import Rounds
from hpcsearch.worker.slotprocess import SlotProcess
from hpcsearch.worker.slots import Slots
from hpcsearch.worker.stopping import SharedFlag

#: What was killed at the end is waited for so long (seconds): a process in the middle of disk access ends late.
REAP_LIMIT_S = 5.0

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})


class Agent:
    """The loop of one node: orders in, events out. What runs is in the hands of ``Slots`` and ``Ranks``."""

    def __init__(self, driver: Channel) -> None:
        self._driver = driver
        self._selector = selectors.DefaultSelector()
        self._slots = Slots(self)
        self._children: dict[int, Callable[[int], None]] = {}  # process id -> what its wait status is told to
        self._events: list[list[Any]] = []
        self._rounds = Rounds()  # for reports
        self._last_sent_s = self._last_heard_s = time.monotonic()
        self._ending = False
        self._writing = False
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            protocol.SETUP: self._set_up,
            protocol.RUN: lambda message: self._slots.run(message["evaluations"]),
            protocol.RECALL: lambda message: self._slots.recall(message["evaluations"]),
            protocol.STOP: self._stop,
            protocol.KILL: lambda message: self._slots.kill(message["evaluations"], message["state"]),
            protocol.EXIT: self._exit,
            protocol.STOP_LAUNCH: self._stop_launch,
            protocol.SWEEP: self._sweep,
            protocol.PREPARE: lambda message: self._ranks.prepare(**message["orders"]),
            protocol.START_RANKS: lambda message: self._ranks.start(protocol.RankOrders(**message["orders"])),
            protocol.END_RANKS: lambda message: self._ranks.end(message["evaluation"]),
            protocol.BEAT: lambda _message: None,
        }

    def work(self) -> None:
        """Runs until the driver says so, or has gone."""
        wakeup_in, wakeup_out = os.pipe()
        os.set_blocking(wakeup_in, False)
        os.set_blocking(wakeup_out, False)
        signal.set_wakeup_fd(wakeup_out, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_STOP_SIGNALS):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._driver.read_fd, selectors.EVENT_READ, self._take_orders)
        self._selector.register(wakeup_in, selectors.EVENT_READ, lambda: self._take_signals(wakeup_in))
        self._events.append([protocol.HELLO, self._hello()])
        try:
            while not self._ending:
                self._send_events()
                for key, _ in self._selector.select(self._patience_s()):
                    if self._selector.get_map().get(key.fd) is key:  # another's end may have closed it just now
                        key.data()
                self._end_overdue()
        except ClosedError:
            return
        finally:
            kill_descendants(os.getpid())
            reap_children(REAP_LIMIT_S)
            storage.release()

    def _hello(self) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cores": own_cores(),
            "gpus": visible_gpus(os.environ),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "python": sys.version.split()[0],
        }

    # ---- what slots and ranks have in common (Home)

    def tell(self, *events: list[Any]) -> None:
        """Sends events to the driver."""
        self._events += events

    def adopt(self, pid: int, ended: Callable[[int], None]) -> None:
        """Calls back with the wait status of a child, when it has ended and what it has left behind is killed."""
        self._children[pid] = ended

    def listen(self, fd: int, callback: Callable[[], object]) -> None:
        """Calls back whenever ``fd`` can be read."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Stops listening to a descriptor, which may have been given up before."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def take_output(self, process: SlotProcess) -> None:
        """Takes what a process has printed."""
        if not process.read_output():
            self.forget(process.output)

    def expect_reports(self) -> None:
        """Something has begun that may report."""
        self._rounds.begin(time.monotonic())

    # ---- orders

    def _take_orders(self) -> None:
        self._last_heard_s = time.monotonic()
        for message in self._driver.receive():
            self._handlers[message["op"]](message)

    def _set_up(self, message: dict[str, Any]) -> None:
        orders = protocol.Setup(**message["orders"])
        ends_at_s = time.monotonic() + orders.time_left_s
        self._ranks = Ranks(self, orders, ends_at_s)
        self._slots.set_up(orders, ends_at_s)

    def _stop(self, message: dict[str, Any]) -> None:
        evaluations, state = message["evaluations"], State(message["state"])
        self._slots.stop(evaluations, state)
        self._ranks.stop(evaluations, state)

    def _stop_launch(self, message: dict[str, Any]) -> None:
        SharedFlag(message["path"]).raise_for(message["evaluation"], State(message["state"]))

    def _sweep(self, message: dict[str, Any]) -> None:
        kill_marked(LAUNCH_VARIABLE, message["mark"])
        Path(message["path"]).unlink(missing_ok=True)
        self._events.append([protocol.SWEPT, message["evaluation"]])

    def _exit(self, _message: dict[str, Any]) -> None:
        self._ending = True

    # ---- children

    def _take_signals(self, wakeup: int) -> None:
        received = set(os.read(wakeup, 4096))
        if received & _STOP_SIGNALS:
            self._events.append([protocol.TERMINATING])
        if signal.SIGCHLD in received:
            self._reap()

    def _reap(self) -> None:
        for pid, status in reaped():
            ended = self._children.pop(pid, None)
            if ended is not None:
                kill_descendants(os.getpid(), spare=frozenset(self._children))  # what it has left behind
                ended(status)

    # ---- time

    def _patience_s(self) -> float:
        until_s = min(self._last_sent_s + protocol.BEAT_S, self._rounds.due_s, self._slots.due_s)
        return max(0.0, until_s - time.monotonic())

    def _fetch_reports(self, now_s: float) -> None:
        before = len(self._events)
        running = [each.fetch_reports() for each in (self._slots, self._ranks)]
        self._rounds.looked(now_s, len(self._events) > before, any(running))

    def _end_overdue(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_heard_s > protocol.DRIVER_SILENCE_S:
            print(f"no word from the driver for {protocol.DRIVER_SILENCE_S:g} s: this node ends", file=sys.stderr)
            self._ending = True
        if self._rounds.due_s <= now_s:
            self._fetch_reports(now_s)
        self._slots.end_overdue(now_s)

    # ---- events

    def _send_events(self) -> None:
        now_s = time.monotonic()
        if not self._events and now_s - self._last_sent_s >= protocol.BEAT_S:
            self._events.append([protocol.BEAT])
        if self._events:
            self._driver.send(self._events)
            self._events = []
            self._last_sent_s = now_s
        done = self._driver.flush()
        if done == self._writing:
            self._writing = not done
            if self._writing:
                self._selector.register(self._driver.write_fd, selectors.EVENT_WRITE, lambda: None)
            else:
                self._selector.unregister(self._driver.write_fd)


def main() -> None:
    """The agent's process."""
    become_subreaper()
    name_process("hpcsearch-agent")
    environment = scrubbed(os.environ)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    with suppress(storage.StorageError):  # an evaluation that needs it will say so
        storage.hold()
    Agent(standard_channel()).work()


if __name__ == "__main__":
    main()
