"""The driver: one loop that takes results, records them, tells the search, asks it, places evaluations and starts them.

It holds what is under way and nothing else: what has ended is in the database, and what the search has learned is in
the search's own process.
"""

from __future__ import annotations

import enum
import logging
import math
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcsearch.allocation import launch, release
from hpcsearch.allocation.clock import Clock, deadline_at
from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended, Executor
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import NodeTable, Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.quarantine import Quarantine, Verdict
from hpcsearch.allocation.recording import RECORDER_DIED, Outcome, Recording
from hpcsearch.allocation.slots import SlotExecutor
from hpcsearch.allocation.supply import Demand, Supply
from hpcsearch.allocation.tail import Tail
from hpcsearch.errors import AllocationError, LeaseLostError
from hpcsearch.evaluation import COUNTED_STATES, Evaluation, State, check_transition

log = logging.getLogger(__name__)

#: Evaluations shorter than this (seconds, median) have the next ones waiting at their slot.
PREFETCH_BELOW_S = 0.1
#: How many wait at most, and the time (seconds) that a round trip to the agent may take meanwhile.
MAX_DEPTH, ROUND_TRIP_S = 32, 0.005
#: Evaluations that wait behind one that takes this much longer than usual are taken back.
STUCK_FACTOR, STUCK_AT_LEAST_S = 5.0, 0.1
#: A death by one of these may be the scheduler ending everything: it is judged after so long (seconds).
ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP})
VERDICT_AFTER_S = 1.0
#: Schedulers warn of the walltime's end up to two minutes earlier than asked: within so many seconds of it the driver's
#: own clock knows better. A warning that comes earlier means another end, such as preemption.
WARNING_S = 300.0
#: After SIGTERM the scheduler waits a little before it kills: running evaluations have this long (seconds).
TERM_PATIENCE_S = 5.0
#: What was killed at the end has this long (seconds) to be told.
LAST_WORDS_S = 5.0


class Phase(enum.Enum):
    """What the driver is about."""

    OPENING = enum.auto()  # no lease yet
    WORKING = enum.auto()
    DRAINING = enum.auto()  # nothing is started any more
    KILLING = enum.auto()  # what still runs is being ended
    CLOSING = enum.auto()  # everything ended; the recorder has the rest


class RecorderDiedError(Exception):
    """The recorder was killed or crashed: the driver ends too, and is started again by its job script."""


#: What the recorder's end means for the driver; any other is a reason to stop.
_RECORDER_ERRORS: Mapping[str, type[Exception]] = {
    LeaseLostError.__name__: LeaseLostError,
    RECORDER_DIED: RecorderDiedError,
}


@dataclass
class Sent:
    """An evaluation that was sent to a slot, when it began (monotonic), and whether its slot has been given away."""

    evaluation: Evaluation
    placement: Placement
    begun_s: float | None = None
    judged_later: bool = False


class Driver:
    """Runs one allocation's share of a search.

    Args:
        plan: what the allocation was asked to do.

    Raises:
        AllocationError: the allocation's nodes cannot be told.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = Loop()
        self._loop.on_signals((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT), self._hear)
        self._began_at = time.time()
        ends_at = deadline_at(plan)
        self._durations = Durations()
        self._clock = Clock(plan, ends_at, self._durations)
        self._table = NodeTable()
        hosts = launch.hosts(plan.launch)
        self._tail = Tail(hosts[0].name)
        self._nodes_left = {host.name for host in hosts}
        # The agents first: they come up while the database is opened.
        self._executor: Executor = SlotExecutor(self._loop, plan, hosts, self._clock.time_left_s, self)
        self._recording = Recording(self._loop, plan, ends_at, self)
        self._release = release.prepare(self._loop, plan, [host.name for host in hosts], self._empty, self._released)
        self._supply: Supply | None = None
        self._phase = Phase.OPENING
        self._outcome = ""
        self.finished = False  # whether the search has nothing left to do
        self._error: Exception | None = None
        self._sent: dict[int, Sent] = {}
        self._terminating = False
        self._quarantine = Quarantine()
        self._busy_s: dict[str, float] = {}  # by node: durations of its evaluations, added up

    def run(self) -> str:
        """Works until there is nothing left to do, or no time.

        Returns:
            why it ended, in words.

        Raises:
            LeaseLostError: another driver has taken over; nothing was written after that.
            AllocationError: no node can run anything, or nothing can be recorded.
            RecorderDiedError: a driver that is started again can go on.
        """
        self._loop.call_later(0.0, self._watch_time)
        self._loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)
        try:
            while not (self._phase is Phase.CLOSING and self._recording.closed):
                self._loop.turn()
                self._advance()
        finally:
            self._executor.close()
            for part in (self._release, self._supply):
                if part is not None:
                    part.close()
            self._recording.stop()
        if self._error is not None:
            raise self._error
        return self._outcome

    # ---- what happens: signals and time

    def _hear(self, number: int) -> None:
        if number == signal.SIGUSR1 and self._clock.time_left_s > WARNING_S:
            self._drain("the allocation was warned of its end")
        if number in (signal.SIGTERM, signal.SIGINT):
            self.terminating()

    def terminating(self) -> None:
        self._terminating = True
        self._clock.shorten(TERM_PATIENCE_S)
        self._drain("the allocation was told to end")

    def _watch_time(self) -> None:
        if self._phase in (Phase.OPENING, Phase.WORKING, Phase.DRAINING) and self._clock.time_left_s <= 0:
            self._kill_all("the allocation's walltime is at its end")
        self._loop.call_later(min(1.0, max(0.01, self._clock.next_change_s())), self._watch_time)

    def _drain(self, why: str) -> None:
        if self._phase in (Phase.OPENING, Phase.WORKING):
            running = [identity for identity, sent in self._sent.items() if sent.begun_s is not None]
            log.info("nothing is started any more: %s; %d evaluations still run", why, len(running))
            self._outcome = self._outcome or why
            self._phase = Phase.DRAINING
            self._executor.recall(self._sent.keys() - running)

    def _kill_all(self, why: str) -> None:
        self._drain(why)
        self._phase = Phase.KILLING
        self._executor.kill(list(self._sent), State.INTERRUPTED)
        self._loop.call_later(LAST_WORDS_S, self._write_off)

    def _write_off(self) -> None:
        """Ends, as interrupted, what did not even tell its end."""
        now = time.time()
        for sent in list(self._sent.values()):
            self._settle(sent.evaluation, sent.placement, Ended(State.INTERRUPTED, None, now))

    # ---- what happens: nodes

    def node_up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        self._table.add(name, slots)
        self._busy_s.setdefault(name, 0.0)
        self._recording.node(
            name,
            state="UP",
            slots=slots,
            cores=len(facts["cores"]),
            gpus=len(facts["gpus"]),
            memory_mb=facts["memory_mb"],
            held_from_at=self._began_at,
        )

    def node_down(self, name: str) -> None:
        self._table.remove(name)

    def slot_lost(self, placement: Placement, reason: str) -> None:
        log.error("slot %d of node %s takes no more evaluations: %s", placement.slot, placement.node, reason)
        self._table.close(placement)

    def node_lost(self, name: str, reason: str) -> None:
        log.error("node %s is out of the search: %s", name, reason)
        self._node_ends([name], "LOST", time.time(), reason)
        if self._release is not None:
            self._release.lost(name)
        if not self._nodes_left:
            self._error = AllocationError(f"No node of this allocation can run anything. {name}: {reason}")
            self._drain(f"no node can run anything: {reason}")

    def _empty(self, nodes: Sequence[str]) -> None:
        for name in nodes:
            self._table.remove(name)
        self._executor.empty(nodes)

    def node_emptied(self, name: str) -> None:
        if self._release is not None:
            self._release.emptied(name)

    def _released(self, nodes: list[str], at: float) -> None:
        self._node_ends(nodes, "RELEASED", at)

    def _node_ends(self, names: Iterable[str], state: str, at: float, reason: str | None = None) -> None:
        for name in names:
            self._nodes_left.discard(name)
            busy_s = self._busy_s.get(name, 0.0) / self._plan.evals_per_node
            self._recording.node(name, state=state, held_to_at=at, busy_s=busy_s, reason=reason)

    # ---- what happens: evaluations

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        if evaluation.id not in self._sent:
            return  # it had been written off
        check_transition(State.PROPOSED, State.RUNNING)
        self._sent[evaluation.id].begun_s = time.monotonic()
        self._recording.started(evaluation, placement, at)

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None:
        if self._sent.pop(evaluation.id, None) is None:
            return  # it had been written off
        self._table.leave(placement)
        evaluation.attempt -= 1
        if self._supply is not None:
            self._supply.put_back(evaluation)

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        self._recording.reported(evaluation, step, at, metrics)

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if end.killed_by not in ENDING_SIGNALS or evaluation.id not in self._sent:
            self._settle(evaluation, placement, end)
        elif self._terminating:
            self._settle(evaluation, placement, _interrupted(end))
        else:
            self._sent[evaluation.id].judged_later = True
            self._table.leave(placement)
            self._loop.call_later(VERDICT_AFTER_S, lambda: self._judge(evaluation, placement, end))

    def _judge(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        """A process was killed a moment ago: by whoever ends the allocation, or by something of its own."""
        self._settle(evaluation, placement, _interrupted(end) if self._terminating else end)

    def _settle(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        sent = self._sent.pop(evaluation.id, None)
        if sent is None:
            return  # it had been written off
        if not sent.judged_later:
            self._table.leave(placement)
        if end.duration_s is not None:
            self._busy_s[placement.node] = self._busy_s.get(placement.node, 0.0) + end.duration_s
            if end.state is State.FINISHED:
                self._durations.add(end.duration_s)
        check_transition(State.RUNNING, end.state)
        again = self._is_tried_again(evaluation, end.state)
        self._recording.ended(evaluation, placement, end, final=not again and end.state is not State.INTERRUPTED)
        if again and self._supply is not None:
            check_transition(end.state, State.PROPOSED)
            self._recording.requeued(evaluation)
            self._supply.append(evaluation)
        self._quarantine.take(placement.node, end.state)
        if end.state is State.FAILED or self._table.resting:
            self._judge_nodes({placement.node, *self._table.resting})

    def _judge_nodes(self, names: set[str]) -> None:
        for name in names & self._table.nodes.keys():
            verdict = self._quarantine.verdict(name)
            if verdict is Verdict.BAD:
                self._set_aside(name)
            elif verdict is Verdict.WAITS:
                self._table.rest(name)
            else:
                self._table.wake(name)

    def _set_aside(self, node: str) -> None:
        reason = "its evaluations failed one after the other while those on other nodes did not"
        log.error("node %s takes no more evaluations: %s", node, reason)
        self._node_ends([node], "QUARANTINED", time.time(), reason)
        self._empty([node])

    def _is_tried_again(self, evaluation: Evaluation, state: State) -> bool:
        tried_again = state is State.LOST or (state is State.FAILED and self._plan.retry_failed)
        if state in COUNTED_STATES:
            evaluation.failures += 1
        return tried_again and evaluation.failures < self._plan.max_attempts

    # ---- what happens: database and search

    def opened(self, message: Mapping[str, Any]) -> None:
        workflow, waiting = message["workflow"], [Evaluation(*values) for values in message["unfinished"]]
        self._durations = Durations(reversed(message["durations"]))
        self._clock.use(self._durations)
        self._supply = Supply(
            self._loop, self._plan, self._recording, workflow, waiting, message["ended"] == 0, self._search_failed
        )
        if self._phase is Phase.OPENING:
            self._phase = Phase.WORKING
        log.info(
            "allocation %d works on %s: %d evaluations ended before, %d wait",
            self._plan.allocation,
            self._plan.workflow,
            message["ended"],
            len(waiting),
        )

    def history(self, outcomes: list[Outcome], last: bool) -> None:
        if self._supply is not None:
            self._supply.history(outcomes, last, [sent.evaluation for sent in self._sent.values()])

    def proposed(self, evaluations: list[Evaluation], full: bool) -> None:
        if self._supply is not None:
            self._supply.claimed(evaluations, full)

    def committed(self, outcomes: list[Outcome]) -> None:
        if self._supply is not None:
            self._supply.committed(outcomes)

    def recorder_failed(self, kind: str, message: str) -> None:
        self._error = _RECORDER_ERRORS.get(kind, AllocationError)(message)
        log.error("%s", message)
        self._phase = Phase.CLOSING

    def _search_failed(self, reason: str) -> None:
        log.error("the search cannot go on: %s", reason)
        self._error = AllocationError(f"The search cannot go on: {reason}")
        self._drain(f"the search failed: {reason}")

    # ---- what to do next

    def _advance(self) -> None:
        """Does all that has become possible or necessary by what happened."""
        if self._phase is Phase.WORKING and self._supply is not None:
            if self._clock.may_start():
                self._place(self._supply)
                self._supply.replenish(self._demand())
                self._executor.dispatch()
            self._see_whether_done(self._supply)
        elif self._phase in (Phase.DRAINING, Phase.KILLING) and not self._sent:
            self._close()
        self._give_back()
        if self._supply is not None:
            self._recording.flush()

    def _place(self, supply: Supply) -> None:
        if self._table.resting and not self._sent:
            self._table.wake(*self._table.resting)  # nothing runs whose end could tell more
        depth = self._depth(supply)
        takers = self._takers(supply.left)
        while supply:
            placement = self._table.place(depth) if takers is None else self._table.place_on(takers)
            if placement is None:
                return
            evaluation = supply.take()
            evaluation.attempt += 1
            self._sent[evaluation.id] = Sent(evaluation, placement)
            self._executor.start(evaluation, placement)

    def _depth(self, supply: Supply) -> int:
        """How many evaluations a slot may be sent: the next ones wait there only while evaluations are short."""
        median_s = self._durations.quantile(0.5)
        if median_s is None or median_s >= PREFETCH_BELOW_S:
            return 1
        if supply.left <= 2 * self._table.slots:
            return 1  # the last round: who is free first takes the next one
        return 1 + min(MAX_DEPTH, math.ceil(ROUND_TRIP_S / max(median_s, 1e-6)))

    def _demand(self) -> Demand:
        return Demand(self._table.slots, self._table.free, len(self._sent), self._durations.quantile(0.5))

    def _give_back(self) -> None:
        if self._release is None or not self._release.possible or self._supply is None:
            return
        startable = self._supply.left if self._phase is Phase.WORKING and self._clock.may_start() else 0
        takers = self._takers(startable)
        self._release.offer([] if takers is None else release.surplus(self._table, takers))

    def _takers(self, left: float) -> list[str] | None:
        """The nodes that take what is left of the budget; None as long as all do."""
        if self._release is None or not self._release.possible:
            return None
        running = ((sent.placement, sent.begun_s) for sent in self._sent.values() if not sent.judged_later)
        return self._tail.takers(self._table, running, left, self._durations, time.monotonic())

    def _see_whether_done(self, supply: Supply) -> None:
        if self._sent:
            return
        if supply.end:
            self.finished = True
            self._outcome = supply.end
            self._close()
        elif not self._clock.may_start():
            self._drain("no evaluation can finish in the walltime that is left")

    def _close(self) -> None:
        self._phase = Phase.CLOSING
        if self._supply is None:  # told to end before it held the lease: there is nothing to record
            self._recording.stop()
            return
        self._node_ends(self._nodes_left & self._busy_s.keys(), "DONE", time.time())
        self._recording.close(self._outcome, self.finished)
        log.info("the search ends here: %s", self._outcome)

    def _take_back_stuck(self) -> None:
        """Takes back what waits behind an evaluation that takes much longer than usual."""
        patience_s = max(STUCK_AT_LEAST_S, STUCK_FACTOR * (self._durations.quantile(0.5) or 0.0))
        latest_s = time.monotonic() - patience_s
        stuck = {sent.placement for sent in self._sent.values() if sent.begun_s is not None and sent.begun_s < latest_s}
        waiting = [
            identity for identity, sent in self._sent.items() if sent.begun_s is None and sent.placement in stuck
        ]
        if waiting:
            self._executor.recall(waiting)
        self._loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)


def _interrupted(end: Ended) -> Ended:
    return replace(end, state=State.INTERRUPTED, failure=None)
