"""The driver: one loop that takes results, records them, tells the search, asks it, places evaluations and starts them.

It holds what is under way and nothing else: what has ended is in the database, and what the search has learned is in
the search's own process.
"""

from __future__ import annotations

import enum
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcsearch.allocation import launch, shrunk
from hpcsearch.allocation.clock import Clock, deadline_at
from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.executors import Executors
from hpcsearch.allocation.fleet import Fleet
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.recording import RECORDER_DIED, Outcome, Recording
from hpcsearch.allocation.stopping import Report, Stopping
from hpcsearch.allocation.successes import Successes
from hpcsearch.allocation.supply import Supply
from hpcsearch.allocation.underway import UnderWay
from hpcsearch.errors import AllocationError, LeaseLostError, SmokeError
from hpcsearch.evaluation import Evaluation, Failure, State
from hpcsearch.workflow.layout import Layout

log = logging.getLogger(__name__)

#: Schedulers warn of the walltime's end up to two minutes earlier than asked: within so many seconds of it the driver's
#: own clock knows better. A warning that comes earlier means another end, such as preemption.
WARNING_S = 300.0
#: After SIGTERM the scheduler waits a little before it kills: running evaluations have this long (seconds).
TERM_PATIENCE_S = 5.0
#: Where nothing can be run, the database is waited for so long (seconds), so that the reason is recorded.
OPENING_PATIENCE_S = 10.0
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
        self._clock = Clock(plan, ends_at, Durations())
        gone = shrunk.recall(Layout(Path(plan.directory)).allocation(plan.allocation))
        hosts = [host for host in launch.hosts(plan.launch) if host.name not in gone]
        # The agents first: they come up while the database is opened.
        self._executor = Executors(self._loop, plan, hosts, self._clock.time_left_s, self)
        self._stopping = Stopping(self._loop, plan, self._executor, self._progressed)
        self._recording = Recording(self._loop, plan, ends_at, self)
        self._fleet = Fleet(self._loop, plan, [host.name for host in hosts], self._executor, self._recording)
        # There are none before the database is open.
        self._supply: Supply | None = None
        self._under_way: UnderWay | None = None
        self._phase = Phase.OPENING
        self._outcome = ""
        self._finished = False  # whether the search has nothing left to do
        self._error: Exception | None = None

    def run(self) -> str:
        """Works until there is nothing left to do, or no time.

        Returns:
            why it ended, in words.

        Raises:
            LeaseLostError: another driver has taken over; nothing was written after that.
            SmokeError: the one evaluation that had to succeed before any other did not.
            AllocationError: no node can run anything, or nothing can be recorded.
            RecorderDiedError: a driver that is started again can go on.
        """
        self._loop.call_later(0.0, self._watch_time)
        try:
            while not (self._phase is Phase.CLOSING and self._recording.closed):
                self._loop.turn()
                self._advance()
        finally:
            self._executor.close()
            self._fleet.close()
            if self._supply is not None:
                self._supply.close()
            self._recording.stop()
        if self._error is not None:
            raise self._error
        return self._outcome

    @property
    def ends_chain(self) -> str:
        """Why no allocation that follows is needed; empty where one may be."""
        if isinstance(self._error, SmokeError):
            return "the smoke test had failed"
        return "the search was done" if self._finished else ""

    # ---- what happens: signals and time

    def _hear(self, number: int) -> None:
        if number == signal.SIGUSR1 and self._clock.time_left_s > WARNING_S:
            self._drain("the allocation was warned of its end")
            if self._under_way is not None:
                self._under_way.ask_to_end()
        if number in (signal.SIGTERM, signal.SIGINT):
            self.terminating()

    def unable(self, reason: str) -> None:
        self._error = AllocationError(reason)
        if self._under_way is None:
            self._clock.shorten(OPENING_PATIENCE_S)
        self._drain(reason)

    def terminating(self) -> None:
        if self._under_way is not None:
            self._under_way.terminating = True
            self._under_way.ask_to_end()
        self._clock.shorten(TERM_PATIENCE_S)
        self._drain("the allocation was told to end")

    def _watch_time(self) -> None:
        if self._phase in (Phase.OPENING, Phase.WORKING, Phase.DRAINING) and self._clock.time_left_s <= 0:
            self._kill_all("the allocation's walltime is at its end")
        self._loop.call_later(min(1.0, max(0.01, self._clock.next_change_s())), self._watch_time)

    def _drain(self, why: str) -> None:
        if self._phase in (Phase.OPENING, Phase.WORKING):
            running = 0 if self._under_way is None else self._under_way.running
            log.info("nothing is started any more: %s; %d evaluations still run", why, running)
            self._outcome = self._outcome or why
            self._phase = Phase.DRAINING
            if self._under_way is not None:
                self._under_way.recall()

    def _kill_all(self, why: str) -> None:
        self._drain(why)
        self._phase = Phase.KILLING
        if self._under_way is not None:
            self._under_way.interrupt()
            self._loop.call_later(LAST_WORDS_S, self._under_way.write_off)

    # ---- what happens: nodes

    def node_up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        self._fleet.up(name, facts, slots)

    def node_down(self, name: str) -> None:
        self._fleet.table.remove(name)

    def slot_lost(self, placement: Placement, reason: str) -> None:
        log.error("slot %d of node %s takes no more evaluations: %s", placement.slot, placement.node, reason)
        self._fleet.table.close(placement)

    def node_lost(self, name: str, reason: str) -> None:
        # After the search's end none is left that was to run anything.
        if not self._fleet.lost(name, reason) and self._phase is not Phase.CLOSING:
            self._error = AllocationError(f"No node of this allocation can run anything. {name}: {reason}")
            if self._under_way is None:
                self._clock.shorten(OPENING_PATIENCE_S)
            self._drain(f"no node can run anything: {reason}")

    def node_emptied(self, name: str) -> None:
        self._fleet.emptied(name)

    # ---- what happens: evaluations, which there are none of before the database is open

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        if self._under_way is not None:
            self._under_way.started(evaluation, placement, at)

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None:
        if self._under_way is not None:
            self._under_way.recalled(evaluation, placement)

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if self._under_way is not None:
            self._under_way.ended(evaluation, placement, self._stopping.ended(evaluation, end))

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        self._recording.reported(evaluation, step, at, metrics)
        self._stopping.reported(evaluation, step, metrics)

    def _progressed(self, evaluation: Evaluation, value: float) -> None:
        if self._supply is not None:
            self._supply.progress(evaluation, value)

    def _refused(self, evaluation: Evaluation, failure: Failure) -> None:
        if self._under_way is not None:
            self._under_way.refuse(evaluation, failure)

    def _test_failed(self, evaluation: Evaluation, end: Ended) -> None:
        how = "had not ended when the walltime did" if end.state is State.INTERRUPTED else end.in_words
        why = f"the smoke test failed: evaluation {evaluation.id} {how}"
        hint = f"Mend that, then type 'hpcsearch resume {self._plan.workflow}'."
        self._error = SmokeError(f"{why[0].upper()}{why[1:]}.", hint)
        self._outcome = f"{why}; {hint[0].lower()}{hint[1:-1]}"
        self._drain(self._outcome)

    # ---- what happens: database and search

    def past_reports(self, reports: list[Report]) -> None:
        self._stopping.past(reports)

    def opened(self, message: Mapping[str, Any]) -> None:
        plan, workflow = self._plan, message["workflow"]
        waiting = [Evaluation(*values) for values in message["unfinished"]]
        durations = Durations(reversed(message["durations"]))
        self._clock.use(durations)
        self._stopping.opened(bool(workflow["minimize"]), workflow["names"] != "[]", message["finished"])
        self._supply = Supply(
            self._loop,
            plan,
            self._recording,
            workflow,
            waiting,
            message["ended"] == 0,
            self._search_failed,
            self._refused,
        )
        self._under_way = UnderWay(
            self._loop,
            plan,
            self._executor,
            self._fleet,
            self._recording,
            self._supply,
            Successes(message["succeeded"], plan.max_success, plan.smoke),
            durations,
            self._test_failed,
        )
        if self._phase is Phase.OPENING:
            self._phase = Phase.WORKING
        log.info(
            "allocation %d works on %s: %d evaluations ended before, %d wait",
            plan.allocation,
            plan.workflow,
            message["ended"],
            len(waiting),
        )

    def history(self, outcomes: list[Outcome], last: bool) -> None:
        if self._supply is not None and self._under_way is not None:
            self._supply.history(outcomes, last, self._under_way.evaluations)

    def proposed(self, evaluations: list[Evaluation], full: bool) -> None:
        if self._supply is not None:
            self._supply.claimed(evaluations, full)

    def committed(self, outcomes: list[Outcome]) -> None:
        if self._supply is not None:
            self._supply.committed(outcomes)

    def stopped(self) -> None:
        self._drain("it was told to start nothing more")

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
        if self._under_way is None or self._supply is None:
            # Told to end before it held the lease; but why no node can run anything is still to be recorded.
            if self._phase is Phase.KILLING or (self._phase is Phase.DRAINING and self._error is None):
                self._phase = Phase.CLOSING
                self._recording.stop()
            return
        if self._phase is Phase.WORKING:
            if self._clock.may_start():
                self._under_way.place()
                self._supply.replenish(self._under_way.demand)
                self._executor.dispatch()
            self._see_whether_done(self._under_way)
        elif self._phase in (Phase.DRAINING, Phase.KILLING) and not self._under_way:
            self._close()
        self._give_back(self._under_way)
        self._recording.flush()

    def _give_back(self, under_way: UnderWay) -> None:
        under_way.give_back(under_way.left if self._phase is Phase.WORKING and self._clock.may_start() else 0)

    def _see_whether_done(self, under_way: UnderWay) -> None:
        if under_way:
            return
        if under_way.end:
            self._finished = True
            self._outcome = under_way.end
            self._close()
        elif under_way.stuck:
            self._drain(f"no evaluation can run any more here: {under_way.stuck}")
        elif under_way.suspended:
            self._drain("the allocation's walltime is at its end")
        elif not self._clock.may_start():
            self._drain("no evaluation can finish in the walltime that is left")

    def _close(self) -> None:
        self._phase = Phase.CLOSING
        self._fleet.end()
        self._recording.close(self._outcome, self._finished)
        log.info("the search ends here: %s", self._outcome)
