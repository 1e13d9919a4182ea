"""The agent's part in evaluations that run in slots: each takes one after the other, as the driver hands them out."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from hpcsearch.evaluation import State
from hpcsearch.worker import protocol
from hpcsearch.worker import slot as slot_process
from hpcsearch.worker.channel import ClosedError
from hpcsearch.worker.slot import SlotOrders
from hpcsearch.worker.slotprocess import SlotProcess, Task, describe_end

if TYPE_CHECKING:
    from hpcsearch.worker.home import Home

#: A slot whose process dies so often in a row before its run function is loaded is given up.
MAX_EARLY_DEATHS = 3


class Slots:
    """All slots of this node; there are none before ``set_up``.

    Args:
        home: the agent.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._slots: list[SlotProcess] = []
        self._timeouts: list[tuple[float, int, int, int]] = []  # when (monotonic), slot, evaluation, attempt
        self._timeout_s: float | None = None
        self._warm = True

    # ---- orders

    def set_up(self, orders: protocol.Setup, ends_at_s: float) -> None:
        """Makes the slots; ``ends_at_s``: the allocation's last moment for evaluations, on this host's own clock."""
        self._timeout_s = orders.eval_timeout_s
        self._warm = orders.warm
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

    def run(self, evaluations: Iterable[list[Any]]) -> None:
        """Hands evaluations to their slots; see ``protocol.RUN``."""
        for identity, attempt, index, configuration, *others in evaluations:
            slot = self._slots[index]
            more = tuple(self._slots[other].share for other in others[0]) if others else ()
            slot.give(Task(identity, attempt, configuration, more))
            if not slot.pid and slot.early_deaths < MAX_EARLY_DEATHS:
                self._fork(slot)

    def recall(self, evaluations: Iterable[int]) -> None:
        """Takes back those of these evaluations that have not begun."""
        wanted = frozenset(evaluations)
        for slot in self._slots:
            if not wanted.isdisjoint(slot.sent):
                self._home.tell(*([protocol.RECALLED, task.id] for task in slot.take_back(wanted)))

    def stop(self, evaluations: Collection[int], state: State) -> None:
        """Asks those of these evaluations that run here to end in a state."""
        for slot in self._slots:
            for identity in slot.sent.keys() & evaluations:
                slot.flag.raise_for(identity, state)

    def kill(self, evaluations: Collection[int], state: str) -> None:
        """Takes back or kills those of these evaluations that are here; what is killed ends in the state."""
        self.recall(evaluations)
        for slot in self._slots:
            if not slot.sent.keys().isdisjoint(evaluations):
                self._hear_out(slot)  # it may have gone on to another evaluation meanwhile
            if not slot.sent.keys().isdisjoint(evaluations):
                slot.kill(state, evaluations)

    # ---- what slots tell

    def _fork(self, slot: SlotProcess) -> None:
        slot.fork()
        self._home.adopt(slot.pid, lambda status: self._bury(slot, status))
        self._home.listen(slot.results.read_fd, lambda: self._take_results(slot))
        self._home.listen(slot.output, lambda: self._home.take_output(slot))

    def _take_results(self, slot: SlotProcess) -> None:
        try:
            messages = slot.results.receive()
        except ClosedError:
            self._home.forget(slot.results.read_fd)  # its end is told by SIGCHLD
            return
        for message in messages:
            self._says[message[0]](self, slot, message)

    def _hear_out(self, slot: SlotProcess) -> None:
        """Takes all that a slot has told so far."""
        with suppress(ClosedError):
            while messages := slot.results.receive():
                for message in messages:
                    self._says[message[0]](self, slot, message)

    def _loaded(self, slot: SlotProcess, _message: list[Any]) -> None:
        slot.loaded = True
        slot.early_deaths = 0
        self._home.tell([protocol.READY, slot.orders.index])

    def _unloadable(self, slot: SlotProcess, message: list[Any]) -> None:
        slot.early_deaths = MAX_EARLY_DEATHS
        self._home.tell([protocol.UNLOADABLE, slot.orders.index, message[1]])

    def _begins(self, slot: SlotProcess, message: list[Any]) -> None:
        _, identity, attempt, at = message
        index = slot.orders.index
        slot.begin(identity, at)
        self._home.expect_reports()
        self._home.tell([protocol.STARTED, identity, attempt, index, at])
        if self._timeout_s is not None:
            heapq.heappush(self._timeouts, (time.monotonic() + self._timeout_s, index, identity, attempt))

    def _ended(self, slot: SlotProcess, message: list[Any]) -> None:
        self._home.tell(*slot.take_reports())
        slot.finish(message[1])
        self._home.tell([protocol.ENDED, *message[1:3], slot.orders.index, *message[3:], None])

    def _has_reports(self, slot: SlotProcess, _message: list[Any]) -> None:
        self._home.tell(*slot.take_reports())

    _says: ClassVar[dict[str, Callable[[Slots, SlotProcess, list[Any]], None]]] = {
        slot_process.LOADED: _loaded,
        slot_process.UNLOADABLE: _unloadable,
        slot_process.BEGUN: _begins,
        slot_process.ENDED: _ended,
        slot_process.REPORTS_WAIT: _has_reports,
    }

    def fetch_reports(self) -> bool:
        """Passes on what has been reported; whether anything runs that may report more.

        What was told otherwise is taken first, for that says which evaluations have begun.
        """
        working = [slot for slot in self._slots if slot.begun is not None]
        for slot in working:
            self._hear_out(slot)
            self._home.tell(*slot.take_reports())
        return bool(working)

    # ---- deaths

    def _bury(self, slot: SlotProcess, status: int) -> None:
        self._hear_out(slot)  # what it told before it ended counts
        self._home.tell(*slot.take_reports())
        self._home.forget(slot.results.read_fd)
        self._home.forget(slot.output)
        out_of_memory = slot.ran_out_of_memory()
        task = slot.current()
        if task is not None:
            self._tell_death(slot, task, status, out_of_memory)
        if not slot.loaded:
            slot.early_deaths += 1
            if slot.early_deaths == MAX_EARLY_DEATHS:
                failure = describe_end(status, out_of_memory)
                self._home.tell([protocol.UNLOADABLE, slot.orders.index, failure])
        slot.buried()
        if slot.early_deaths < MAX_EARLY_DEATHS and (self._warm or slot.sent):
            self._fork(slot)

    def _tell_death(self, slot: SlotProcess, task: Task, status: int, out_of_memory: bool) -> None:
        now = time.time()
        index = slot.orders.index
        if slot.begun is None:  # it was taken from the socket a moment before
            slot.begun_at = now
            self._home.tell([protocol.STARTED, task.id, task.attempt, index, now])
        state, failure, killed_by = slot.judge(task, status, out_of_memory)
        times = (slot.begun_at, now, now - slot.begun_at)
        self._home.tell([protocol.ENDED, task.id, task.attempt, index, state, *times, None, None, failure, killed_by])

    # ---- time

    @property
    def due_s(self) -> float:
        """When the next time limit may be over, on the monotonic clock; infinite where there is none."""
        return self._timeouts[0][0] if self._timeouts else math.inf

    def end_overdue(self, now_s: float) -> None:
        """Ends evaluations that have run longer than they may."""
        while self.due_s <= now_s:
            _, index, identity, attempt = heapq.heappop(self._timeouts)
            slot = self._slots[index]
            task = slot.begun
            if task is not None and (task.id, task.attempt) == (identity, attempt) and slot.verdict is None:
                slot.kill(State.TIMED_OUT.value, [identity])
