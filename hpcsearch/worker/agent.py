"""The agent: one process on each node, started by the driver through the launcher, that runs the node's slots.

It speaks with the driver over its standard input and output (see ``protocol``), and ends, with everything below it,
when that ends. ``python -P -m hpcsearch.worker.agent``
"""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hpcsearch.evaluation import State
from hpcsearch.worker import protocol, storage
from hpcsearch.worker import slot as slot_process
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
from hpcsearch.worker.slot import SlotOrders
from hpcsearch.worker.slotprocess import SlotProcess, Task, describe_end
from hpcsearch.worker.stopping import SharedFlag

#: A slot whose process dies so often in a row before its run function is loaded is given up.
MAX_EARLY_DEATHS = 3

#: What was killed at the end is waited for so long (seconds): a process in the middle of disk access ends late.
REAP_LIMIT_S = 5.0

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})


class Agent:
    """The loop of one node: orders in, evaluations run, events out."""

    def __init__(self, driver: Channel) -> None:
        self._driver = driver
        self._selector = selectors.DefaultSelector()
        self._slots: list[SlotProcess] = []
        self._children: dict[int, Callable[[int], None]] = {}  # process id -> what its wait status is told to
        self._events: list[list[Any]] = []
        self._timeouts: list[tuple[float, int, int, int]] = []  # when (monotonic), slot, evaluation, attempt
        self._timeout_s: float | None = None
        self._rounds = Rounds()  # for reports
        self._warm = True
        self._last_sent_s = self._last_heard_s = time.monotonic()
        self._ending = False
        self._writing = False
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            protocol.SETUP: self._set_up,
            protocol.RUN: self._run,
            protocol.RECALL: self._recall,
            protocol.STOP: self._stop,
            protocol.KILL: self._kill,
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

    def tell(self, event: list[Any]) -> None:
        """Sends an event to the driver."""
        self._events.append(event)

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
        self._timeout_s = orders.eval_timeout_s
        self._warm = orders.warm
        ends_at_s = time.monotonic() + orders.time_left_s
        self._ranks = Ranks(self, orders, ends_at_s)
        for index, share in enumerate(orders.slots):
            slot = SlotProcess(
                SlotOrders(
                    index,
                    orders.run,
                    tuple(orders.names),
                    orders.cwd,
                    orders.evaluations,
                    ends_at_s,
                    self._timeout_s,
                    orders.reuse,
                    orders.stop_raises,
                    orders.stop_margin_s,
                ),
                protocol.Share(**share),
                orders.gpu_variable,
                orders.output_limit_bytes,
            )
            self._slots.append(slot)
            if self._warm:
                self._fork(slot)

    def _run(self, message: dict[str, Any]) -> None:
        for identity, attempt, index, configuration, *others in message["evaluations"]:
            slot = self._slots[index]
            more = tuple(self._slots[other].share for other in others[0]) if others else ()
            slot.give(Task(identity, attempt, configuration, more))
            if not slot.pid and slot.early_deaths < MAX_EARLY_DEATHS:
                self._fork(slot)

    def _recall(self, message: dict[str, Any]) -> None:
        wanted = frozenset(message["evaluations"])
        for slot in self._slots:
            if not wanted.isdisjoint(slot.sent):
                self._events += ([protocol.RECALLED, task.id] for task in slot.take_back(wanted))

    def _stop(self, message: dict[str, Any]) -> None:
        state = State(message["state"])
        for slot in self._slots:
            for identity in slot.sent.keys() & message["evaluations"]:
                slot.flag.raise_for(identity, state)
        self._ranks.stop(message["evaluations"], state)

    def _kill(self, message: dict[str, Any]) -> None:
        self._recall(message)
        for slot in self._slots:
            if not slot.sent.keys().isdisjoint(message["evaluations"]):
                self._hear_out(slot)  # it may have gone on to another evaluation meanwhile
            if not slot.sent.keys().isdisjoint(message["evaluations"]):
                slot.kill(message["state"], message["evaluations"])

    def _stop_launch(self, message: dict[str, Any]) -> None:
        SharedFlag(message["path"]).raise_for(message["evaluation"], State(message["state"]))

    def _sweep(self, message: dict[str, Any]) -> None:
        kill_marked(LAUNCH_VARIABLE, message["mark"])
        Path(message["path"]).unlink(missing_ok=True)
        self._events.append([protocol.SWEPT, message["evaluation"]])

    def _exit(self, _message: dict[str, Any]) -> None:
        self._ending = True

    # ---- slots

    def _fork(self, slot: SlotProcess) -> None:
        slot.fork()
        self.adopt(slot.pid, lambda status: self._bury(slot, status))
        self.listen(slot.results.read_fd, lambda: self._take_results(slot))
        self.listen(slot.output, lambda: self.take_output(slot))

    def _take_results(self, slot: SlotProcess) -> None:
        try:
            messages = slot.results.receive()
        except ClosedError:
            self._selector.unregister(slot.results.read_fd)  # its end is told by SIGCHLD
            return
        for message in messages:
            self._slot_says[message[0]](self, slot, message)

    def _hear_out(self, slot: SlotProcess) -> None:
        """Takes all that a slot has told so far."""
        with suppress(ClosedError):
            while messages := slot.results.receive():
                for message in messages:
                    self._slot_says[message[0]](self, slot, message)

    def _slot_loaded(self, slot: SlotProcess, _message: list[Any]) -> None:
        slot.loaded = True
        slot.early_deaths = 0
        self._events.append([protocol.READY, slot.orders.index])

    def _slot_unloadable(self, slot: SlotProcess, message: list[Any]) -> None:
        slot.early_deaths = MAX_EARLY_DEATHS
        self._events.append([protocol.UNLOADABLE, slot.orders.index, message[1]])

    def _slot_begins(self, slot: SlotProcess, message: list[Any]) -> None:
        _, identity, attempt, at = message
        index = slot.orders.index
        slot.begin(identity, at)
        self.expect_reports()
        self._events.append([protocol.STARTED, identity, attempt, index, at])
        if self._timeout_s is not None:
            heapq.heappush(self._timeouts, (time.monotonic() + self._timeout_s, index, identity, attempt))

    def _slot_ended(self, slot: SlotProcess, message: list[Any]) -> None:
        self._events += slot.take_reports()
        slot.finish(message[1])
        self._events.append([protocol.ENDED, *message[1:3], slot.orders.index, *message[3:], None])

    def _slot_has_reports(self, slot: SlotProcess, _message: list[Any]) -> None:
        self._events += slot.take_reports()

    def _fetch_reports(self, now_s: float) -> None:
        """Takes what has been reported; first what was told otherwise, for that says which evaluations have begun."""
        before = len(self._events)
        working = [slot for slot in self._slots if slot.begun is not None]
        for slot in working:
            self._hear_out(slot)
            self._events += slot.take_reports()
        running = self._ranks.fetch_reports() or bool(working)
        self._rounds.looked(now_s, len(self._events) > before, running)

    _slot_says: ClassVar[dict[str, Callable[[Agent, SlotProcess, list[Any]], None]]] = {
        slot_process.LOADED: _slot_loaded,
        slot_process.UNLOADABLE: _slot_unloadable,
        slot_process.BEGUN: _slot_begins,
        slot_process.ENDED: _slot_ended,
        slot_process.REPORTS_WAIT: _slot_has_reports,
    }

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

    def _bury(self, slot: SlotProcess, status: int) -> None:
        if slot.results.read_fd in self._selector.get_map():
            self._hear_out(slot)  # what it told before it ended counts
        self._events += slot.take_reports()
        self.forget(slot.results.read_fd)
        self.forget(slot.output)
        out_of_memory = slot.ran_out_of_memory()
        task = slot.current()
        if task is not None:
            self._tell_death(slot, task, status, out_of_memory)
        if not slot.loaded:
            slot.early_deaths += 1
            if slot.early_deaths == MAX_EARLY_DEATHS:
                self._events.append([protocol.UNLOADABLE, slot.orders.index, describe_end(status, out_of_memory)])
        slot.buried()
        if slot.early_deaths < MAX_EARLY_DEATHS and (self._warm or slot.sent):
            self._fork(slot)

    def _tell_death(self, slot: SlotProcess, task: Task, status: int, out_of_memory: bool) -> None:
        now = time.time()
        index = slot.orders.index
        if slot.begun is None:  # it was taken from the socket a moment before
            slot.begun_at = now
            self._events.append([protocol.STARTED, task.id, task.attempt, index, now])
        state, failure, killed_by = slot.judge(task, status, out_of_memory)
        times = (slot.begun_at, now, now - slot.begun_at)
        ended = [protocol.ENDED, task.id, task.attempt, index, state, *times, None, None, failure, killed_by]
        self._events.append(ended)

    # ---- time

    def _patience_s(self) -> float:
        now_s = time.monotonic()
        until_s = min(self._last_sent_s + protocol.BEAT_S, self._rounds.due_s)
        if self._timeouts:
            until_s = min(until_s, self._timeouts[0][0])
        return max(0.0, until_s - now_s)

    def _end_overdue(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_heard_s > protocol.DRIVER_SILENCE_S:
            print(f"no word from the driver for {protocol.DRIVER_SILENCE_S:g} s: this node ends", file=sys.stderr)
            self._ending = True
        if self._rounds.due_s <= now_s:
            self._fetch_reports(now_s)
        while self._timeouts and self._timeouts[0][0] <= now_s:
            _, index, identity, attempt = heapq.heappop(self._timeouts)
            slot = self._slots[index]
            task = slot.begun
            if task is not None and (task.id, task.attempt) == (identity, attempt) and slot.verdict is None:
                slot.kill(State.TIMED_OUT.value, [identity])

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
