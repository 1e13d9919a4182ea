"""The driver: one loop that takes results, records them, tells the search, asks it, places evaluations and starts them.

It holds what is under way and nothing else: what has ended is in the database, and what the search has learned is in
the search's own process.
"""

from __future__ import annotations

import enum
import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcsearch.allocation import launch
from hpcsearch.allocation.clock import Clock, deadline_at
from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended, Executor
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import NodeTable, Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.proposals import Proposals, Stock
from hpcsearch.allocation.recording import Outcome, Recording
from hpcsearch.allocation.release import Release, surplus
from hpcsearch.allocation.slots import SlotExecutor
from hpcsearch.errors import AllocationError, HpcsearchError, LeaseLostError
from hpcsearch.evaluation import Configuration, Evaluation, State, check_transition
from hpcsearch.workflow.layout import Layout

log = logging.getLogger(__name__)

#: Evaluations shorter than this (seconds, median) have the next ones waiting at their slot.
PREFETCH_BELOW_S = 0.1
#: How many wait at most, and the time (seconds) that a round trip to the agent may take meanwhile.
MAX_DEPTH, ROUND_TRIP_S = 8, 0.005
#: Evaluations that wait behind one that takes this much longer than usual are taken back.
STUCK_FACTOR, STUCK_AT_LEAST_S = 5.0, 0.1
#: While evaluations are shorter than this (seconds, median), spares are used before a slot is idle: the search takes
#: about as long to come up.
SPARES_BELOW_S = 1.0
#: A death by one of these may be the scheduler ending everything: it is judged after so long (seconds).
ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP})
VERDICT_AFTER_S = 1.0
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
        ends_at = deadline_at(plan)
        self._durations = Durations()
        self._clock = Clock(plan, ends_at, self._durations)
        self._table = NodeTable()
        hosts = launch.hosts(plan.launch)
        self._nodes_left = {host.name for host in hosts}
        # The agents first: they come up while the database is opened.
        self._executor: Executor = SlotExecutor(self._loop, plan, hosts, self._clock.time_left_s, self)
        self._recording = Recording(self._loop, plan, ends_at, self)
        self._first = hosts[0].name
        self._began_at = time.time()
        self._release = self._prepare_release([host.name for host in hosts])
        self._proposals: Proposals | None = None
        self._stock = Stock()
        self._phase = Phase.OPENING
        self._outcome = ""
        self._finished = False
        self._error: HpcsearchError | None = None
        self._pool: deque[Evaluation] = deque()
        self._spares = deque(plan.spares)
        self._claiming: deque[Configuration] = deque()
        self._asked_at: deque[tuple[int, float]] = deque()
        self._sent: dict[int, tuple[Evaluation, Placement]] = {}
        self._running: dict[int, float] = {}  # id -> when it began, monotonic
        self._budget_left: float = math.inf
        self._repeatable = False
        self._terminating = False
        self._busy_s: dict[str, float] = {}

    def run(self) -> str:
        """Works until there is nothing left to do, or no time.

        Returns:
            why it ended, in words.

        Raises:
            LeaseLostError: another driver has taken over; nothing was written after that.
            AllocationError: no node can run anything, or nothing can be recorded.
        """
        self._loop.call_later(0.0, self._watch_time)
        self._loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)
        try:
            while not (self._phase is Phase.CLOSING and self._recording.closed):
                self._loop.turn()
                self._advance()
        finally:
            self._executor.close()
            if self._release is not None:
                self._release.close()
            if self._proposals is not None:
                self._proposals.close()
            self._recording.stop()
        if self._error is not None:
            raise self._error
        return self._outcome

    def _prepare_release(self, nodes: list[str]) -> Release | None:
        job_id = os.environ.get("HPCSEARCH_SCHEDULER_ID")
        if not self._plan.release or not job_id or len(nodes) == 1:
            return None
        folder = Layout(Path(self._plan.directory)).allocation(self._plan.allocation)
        return Release(self._loop, folder, job_id, nodes, self._empty, self._released)

    # ---- what happens: signals and time

    def _hear(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._drain("the allocation's walltime is near its end")
        elif number in (signal.SIGTERM, signal.SIGINT):
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
            log.info("nothing is started any more: %s; %d evaluations still run", why, len(self._running))
            self._outcome = self._outcome or why
            self._phase = Phase.DRAINING
            waiting = [identity for identity in self._sent if identity not in self._running]
            self._executor.recall(waiting)

    def _kill_all(self, why: str) -> None:
        self._drain(why)
        self._phase = Phase.KILLING
        self._executor.kill(list(self._sent), State.INTERRUPTED)
        self._loop.call_later(LAST_WORDS_S, self._write_off)

    def _write_off(self) -> None:
        """Ends, as interrupted, what did not even tell its end."""
        now = time.time()
        for evaluation, placement in list(self._sent.values()):
            self.ended(evaluation, placement, Ended(State.INTERRUPTED, None, now))

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

    def node_lost(self, name: str, reason: str) -> None:
        log.error("node %s is out of the search: %s", name, reason)
        self._nodes_left.discard(name)
        if self._release is not None:
            self._release.lost(name)
        self._recording.node(name, state="LOST", reason=reason, held_to_at=time.time(), busy_s=self._node_busy_s(name))
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
        for name in nodes:
            self._nodes_left.discard(name)
            self._recording.node(name, state="RELEASED", held_to_at=at, busy_s=self._node_busy_s(name))

    def _node_busy_s(self, name: str) -> float:
        return self._busy_s.get(name, 0.0) / self._plan.evals_per_node

    # ---- what happens: evaluations

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        check_transition(State.PROPOSED, State.RUNNING)
        self._running[evaluation.id] = time.monotonic()
        self._recording.started(evaluation, placement, at)

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None:
        self._forget(evaluation, placement)
        evaluation.attempt -= 1
        self._pool.appendleft(evaluation)

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        self._recording.reported(evaluation, step, at, metrics)

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if end.killed_by in ENDING_SIGNALS and not self._terminating:
            self._loop.call_later(VERDICT_AFTER_S, lambda: self._judge(evaluation, placement, end))
            self._table.leave(placement)
            return
        if end.killed_by in ENDING_SIGNALS:
            end = replace(end, state=State.INTERRUPTED, failure=None, killed_by=None)
        self._settle(evaluation, placement, end)
        self._table.leave(placement)

    def _judge(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        """A process was killed a moment ago: by whoever ends the allocation, or by something of its own."""
        if self._terminating:
            end = replace(end, state=State.INTERRUPTED, failure=None)
        self._settle(evaluation, placement, replace(end, killed_by=None))

    def _settle(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if self._sent.pop(evaluation.id, None) is None:
            return  # it had been written off
        self._running.pop(evaluation.id, None)
        if end.duration_s is not None:
            self._busy_s[placement.node] = self._busy_s.get(placement.node, 0.0) + end.duration_s
            if end.state is State.FINISHED:
                self._durations.add(end.duration_s)
        again = self._is_tried_again(evaluation, end.state)
        final = not again and end.state is not State.INTERRUPTED
        self._recording.ended(evaluation, placement, end, final)
        if again:
            check_transition(end.state, State.PROPOSED)
            self._recording.requeued(evaluation)
            self._pool.append(evaluation)

    def _is_tried_again(self, evaluation: Evaluation, state: State) -> bool:
        tried_again = state is State.LOST or (state is State.FAILED and self._plan.retry_failed)
        if state in (State.FAILED, State.LOST):
            evaluation.failures += 1
        return tried_again and evaluation.failures < self._plan.max_attempts

    def _forget(self, evaluation: Evaluation, placement: Placement) -> None:
        self._sent.pop(evaluation.id, None)
        self._running.pop(evaluation.id, None)
        self._table.leave(placement)

    # ---- what happens: database and search

    def opened(self, message: Mapping[str, Any]) -> None:
        workflow = message["workflow"]
        self._durations = Durations(reversed(message["durations"]))
        self._clock.use(self._durations)
        self._pool.extend(
            Evaluation(identity, configuration, attempt, failures)
            for identity, configuration, attempt, failures in message["unfinished"]
        )
        if workflow["max_evals"] is not None:
            self._budget_left = max(0, workflow["max_evals"] - workflow["claimed"])
        one_slot = self._plan.evals_per_node * self._plan.nodes == 1
        self._repeatable = one_slot and workflow["seed"] is not None
        self._proposals = Proposals(
            self._loop,
            workflow,
            self._repeatable,
            self._recording.learned,
            self._take_proposals,
            self._recording.ask_history,
            self._search_failed,
        )
        if self._phase is Phase.OPENING:
            self._phase = Phase.WORKING
        log.info(
            "allocation %d works on %s: %d evaluations ended before, %d wait",
            self._plan.allocation,
            self._plan.workflow,
            message["ended"],
            len(self._pool),
        )

    def history(self, outcomes: list[Outcome], last: bool) -> None:
        assert self._proposals is not None
        pending = [evaluation.configuration for evaluation, _ in self._sent.values()]
        pending += [evaluation.configuration for evaluation in self._pool]
        self._proposals.inform(outcomes, last, [*pending, *self._claiming, *self._recording.unsettled])

    def _take_proposals(self, configurations: list[Configuration]) -> None:
        if configurations:
            self._claiming.extend(configurations)
            self._recording.propose(configurations)
        else:
            self._asked_at.clear()

    def proposed(self, evaluations: list[Evaluation], full: bool) -> None:
        self._pool.extend(evaluations)
        self._budget_left -= len(evaluations)
        for _ in evaluations:
            self._claiming.popleft()
        if full:
            self._claiming.clear()
            self._budget_left = 0
        arrived = len(evaluations)
        while self._asked_at and arrived > 0:
            count, asked_s = self._asked_at.popleft()
            self._stock.answered(time.monotonic() - asked_s)
            arrived -= count

    def committed(self, outcomes: list[Outcome]) -> None:
        if self._proposals is not None:
            self._proposals.tell(outcomes)

    def recorder_failed(self, kind: str, message: str) -> None:
        self._error = LeaseLostError(message) if kind == LeaseLostError.__name__ else AllocationError(message)
        log.error("%s", message)
        self._phase = Phase.CLOSING

    def _search_failed(self, reason: str) -> None:
        log.error("the search cannot go on: %s", reason)
        self._error = AllocationError(f"The search cannot go on: {reason}")
        self._drain(f"the search failed: {reason}")

    # ---- what to do next

    def _advance(self) -> None:
        """Does all that has become possible or necessary by what happened."""
        if self._phase is Phase.WORKING:
            self._place()
            self._ask()
            self._executor.dispatch()
            self._see_whether_done()
            self._give_back()
        elif self._phase in (Phase.DRAINING, Phase.KILLING):
            if not self._sent:
                self._close()
            self._give_back()
        if self._proposals is not None:
            self._recording.flush()

    def _place(self) -> None:
        if not self._pool or not self._clock.may_start():
            return
        depth = self._depth()
        sent = 0
        dense = self._release is not None and self._demand() < self._table.free
        while self._pool:
            placement = self._table.place_densely(self._first) if dense else self._table.place(depth)
            if placement is None:
                break
            evaluation = self._pool.popleft()
            evaluation.attempt += 1
            self._sent[evaluation.id] = (evaluation, placement)
            self._executor.start(evaluation, placement)
            sent += 1
        self._stock.used(sent)

    def _depth(self) -> int:
        """How many evaluations a slot may be sent: the next ones wait there only while evaluations are short."""
        median_s = self._durations.quantile(0.5)
        if median_s is None or median_s >= PREFETCH_BELOW_S:
            return 1
        if self._budget_left + len(self._pool) + len(self._claiming) <= 2 * self._table.slots:
            return 1  # the last round: who is free first takes the next one
        return 1 + min(MAX_DEPTH, math.ceil(ROUND_TRIP_S / max(median_s, 1e-6)))

    def _ask(self) -> None:
        proposals = self._proposals
        if proposals is None or proposals.exhausted or not self._clock.may_start():
            return
        coming = proposals.outstanding + len(self._claiming)
        room = self._budget_left - coming
        if room <= 0:
            return
        if not proposals.started and (self._running or not self._pool):
            proposals.start()  # not before the first evaluation runs: its imports would take the cores from that
        median_s = self._durations.quantile(0.5)
        wanted = 1 if self._repeatable else self._stock.wanted(self._table.slots, median_s)
        missing = int(min(room, wanted + self._table.free - len(self._pool) - coming))
        if missing <= 0:
            return
        if not proposals.ready:
            self._use_spares(missing, median_s)
        elif missing >= min(room, wanted, 1 + wanted // 4):
            self._asked_at.append((missing, time.monotonic()))
            proposals.ask(missing)

    def _use_spares(self, count: int, median_s: float | None) -> None:
        """Slots that would be idle until the search is up take from the spare configurations."""
        short = median_s is not None and median_s < SPARES_BELOW_S
        if self._repeatable or not (short or self._table.free > len(self._pool) + len(self._claiming)):
            return
        spares = [self._spares.popleft() for _ in range(min(count, len(self._spares)))]
        if spares:
            self._take_proposals(spares)

    def _demand(self) -> float:
        """How many evaluations may still be started, beside those that run."""
        proposals = self._proposals
        if proposals is None:
            return math.inf
        if self._phase is not Phase.WORKING or not self._clock.may_start():
            return 0
        coming = proposals.outstanding + len(self._claiming)
        return len(self._pool) + (coming if proposals.exhausted else max(coming, self._budget_left))

    def _give_back(self) -> None:
        if self._release is not None and self._release.possible:
            demand = self._demand()
            self._release.offer(surplus(self._table, self._first, demand) if demand < self._table.free else [])

    def _see_whether_done(self) -> None:
        if self._sent:
            return
        proposals = self._proposals
        waiting = bool(self._pool or self._claiming or (proposals is not None and proposals.outstanding))
        if not waiting and self._budget_left <= 0:
            self._finish("the budget of evaluations is spent")
        elif not waiting and proposals is not None and proposals.exhausted:
            self._finish("every configuration of the search space has been evaluated")
        elif not self._clock.may_start():
            self._drain("no evaluation can finish in the walltime that is left")

    def _finish(self, why: str) -> None:
        self._finished = True
        self._outcome = why
        self._close()

    def _close(self) -> None:
        self._phase = Phase.CLOSING
        if self._proposals is None:  # told to end before it held the lease: there is nothing to record
            self._recording.stop()
            return
        now = time.time()
        for name in self._nodes_left & self._busy_s.keys():
            self._recording.node(name, state="DONE", held_to_at=now, busy_s=self._node_busy_s(name))
        self._recording.close(self._outcome, self._finished)
        log.info("the search ends here: %s", self._outcome)

    def _take_back_stuck(self) -> None:
        """Takes back what waits behind an evaluation that takes much longer than usual, and what others could run."""
        median_s = self._durations.quantile(0.5) or 0.0
        patience_s = max(STUCK_AT_LEAST_S, STUCK_FACTOR * median_s)
        now_s = time.monotonic()
        stuck = {
            self._sent[identity][1]
            for identity, since_s in self._running.items()
            if now_s - since_s > patience_s and identity in self._sent
        }
        waiting = [
            identity
            for identity, (_, placement) in self._sent.items()
            if identity not in self._running and placement in stuck
        ]
        if waiting:
            self._executor.recall(waiting)
        self._loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)
