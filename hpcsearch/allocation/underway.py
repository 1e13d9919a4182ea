"""Evaluations on their way: placed on slots, started, ended, judged, and tried again or recorded for good."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.executors import Executors
from hpcsearch.allocation.fleet import Fleet
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Need, Placement
from hpcsearch.allocation.packing import LOOK, Packing
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.recording import Recording
from hpcsearch.allocation.successes import Successes
from hpcsearch.allocation.supply import Demand, Supply
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import COUNTED_STATES, Evaluation, Failure, State, check_transition
from hpcsearch.search.stopping import NONE

#: Evaluations shorter than this (seconds, median) have the next ones waiting at their slot.
PREFETCH_BELOW_S = 0.1
#: How many wait at most, and the time (seconds) that a round trip to the agent may take meanwhile.
MAX_DEPTH, ROUND_TRIP_S = 32, 0.005
#: Evaluations that wait behind one that takes this much longer than usual are taken back.
STUCK_FACTOR, STUCK_AT_LEAST_S = 5.0, 0.1
#: A death by one of these may be the scheduler ending everything: it is judged after so long (seconds).
ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP})
VERDICT_AFTER_S = 1.0
#: Where an evaluation was that no node could take.
NOWHERE = Placement("", -1)


@dataclass
class Sent:
    """An evaluation that was sent off, when, when it began (monotonic), and whether its slot has been given away."""

    evaluation: Evaluation
    placement: Placement
    sent_s: float
    begun_s: float | None = None
    judged_later: bool = False


class UnderWay:
    """Brings evaluations from the supply to slots and to their ends.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        executor: what runs them.
        fleet: the nodes.
        recording: where it is recorded.
        supply: where they come from, and go back to when they are to be tried again.
        successes: how many may be under way.
        durations: of those that finished.
        on_test_failed: called when the one that has to succeed first, by ``--smoke``, did not.
    """

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        executor: Executors,
        fleet: Fleet,
        recording: Recording,
        supply: Supply,
        successes: Successes,
        durations: Durations,
        on_test_failed: Callable[[Evaluation, Ended], None],
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._executor = executor
        self._fleet = fleet
        self._recording = recording
        self._supply = supply
        self._successes = successes
        self._durations = durations
        self._on_test_failed = on_test_failed
        self._sent: dict[int, Sent] = {}
        self._packing = Packing(fleet.table)
        self._largest = plan.resources.nodes  # nodes that an evaluation has asked for, at most
        self._cut_off = False  # whether an evaluation has ended because its time did
        self.terminating = False  # somebody else is ending the allocation: what dies now was interrupted
        loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)

    def __len__(self) -> int:
        """How many have been sent and have not ended."""
        return len(self._sent)

    @property
    def running(self) -> int:
        """How many have begun."""
        return sum(sent.begun_s is not None for sent in self._sent.values())

    @property
    def evaluations(self) -> list[Evaluation]:
        return [sent.evaluation for sent in self._sent.values()]

    @property
    def left(self) -> float:
        """How many may still be started, at most."""
        return min(self._supply.left, self._successes.left(len(self._sent)))

    @property
    def end(self) -> str:
        """Why none will ever be started any more; empty as long as one may."""
        return self._successes.end or ("" if self._cut_off else self._supply.end)

    @property
    def suspended(self) -> bool:
        """Whether nothing is left but evaluations that the next allocation goes on with."""
        return self._cut_off and bool(self._supply.end)

    # ---- to the slots

    def place(self) -> None:
        """Sends evaluations to the slots that are free for them."""
        table, supply = self._fleet.table, self._supply
        if table.resting and not self._sent:
            table.wake(*table.resting)  # nothing runs whose end could tell more
        room = self._successes.room(len(self._sent))
        takers = self.takers(self.left)
        if not self._plan.all_alike:
            self._pack(room, takers)
            return
        depth = self._depth()
        while supply and room > 0:
            placement = table.place(depth) if takers is None else table.place_on(takers)
            if placement is None:
                return
            self._send(supply.take(), placement)
            room -= 1

    def _pack(self, room: float, takers: list[str] | None) -> None:
        """The same where evaluations take different amounts of the allocation, or more than a slot."""
        while room > 0 and self._fleet.table.free:
            waiting = self._waiting()
            found = self._packing.next([(evaluation.id, need) for evaluation, need in waiting], takers)
            if found is None:
                return
            position, placement = found
            evaluation = waiting[position][0]
            self._supply.take_out(evaluation)
            self._send(evaluation, placement)
            room -= 1

    def _waiting(self) -> list[tuple[Evaluation, Need]]:
        """Those that wait and could run on the nodes that are up; those that no node could ever take have failed."""
        waiting = []
        for evaluation in self._supply.first(LOOK):
            try:
                need = self._fleet.needs.of(evaluation.resources)
            except AllocationError as error:
                self._supply.take_out(evaluation)
                self.refuse(evaluation, Failure("NoRoom", error.message))
                continue
            self._largest = max(self._largest, need.nodes)
            if self._fleet.table.could_take(need):
                waiting.append((evaluation, need))
        return waiting

    def _send(self, evaluation: Evaluation, placement: Placement) -> None:
        evaluation.attempt += 1
        self._sent[evaluation.id] = Sent(evaluation, placement, time.monotonic())
        self._executor.start(evaluation, placement)

    @property
    def stuck(self) -> str:
        """Why nothing that waits can run on the nodes that are left; empty as long as something may."""
        if self._sent or self._plan.all_alike or not self._supply:
            return ""
        wanted = min(evaluation.resources.nodes for evaluation in self._supply.first(LOOK))
        left = self._fleet.left
        return "" if wanted <= left else f"each evaluation that waits takes {wanted} nodes or more, and {left} are left"

    def _depth(self) -> int:
        """How many evaluations a slot may be sent: the next ones wait there only while evaluations are short."""
        if not self._plan.uses_slots:
            return 1  # nothing waits on a node: each is launched when it is sent
        if self._plan.stopper != NONE:
            return 1  # what is stopped frees its slot, and whoever waited there could not be told from it
        median_s = self._durations.quantile(0.5)
        if median_s is None or median_s >= PREFETCH_BELOW_S:
            return 1
        if self.left <= 2 * self._fleet.table.slots:
            return 1  # the last round: who is free first takes the next one
        return 1 + min(MAX_DEPTH, math.ceil(ROUND_TRIP_S / max(median_s, 1e-6)))

    @property
    def demand(self) -> Demand:
        """What the slots need."""
        table = self._fleet.table
        takers = self.takers(self.left)
        free = table.free if takers is None else table.free_on(takers)
        each = self._fleet.slots_of(self._plan.resources)
        return Demand(
            slots=table.slots // each,
            free=free // each,
            busy=len(self._sent),
            median_s=self._durations.quantile(0.5),
            room=self._successes.left(len(self._sent)),
        )

    def takers(self, left: float) -> list[str] | None:
        """The nodes that take so many evaluations, the last ones; None as long as all do."""
        if not self._plan.all_alike:
            return self._fleet.takers_of_nodes(left * self._largest)
        return self._fleet.takers(self._where(), left, self._durations)

    def give_back(self, left: float) -> None:
        """Gives back the nodes that so many evaluations, the last ones, do not need."""
        if self._fleet.shrinks:
            self._fleet.give_back(self.takers(left), self._where(), self._durations)

    def _where(self) -> Iterator[tuple[Placement, float | None]]:
        running = (sent for sent in self._sent.values() if not sent.judged_later)
        return ((slot, sent.begun_s) for sent in running for slot in sent.placement.slots)

    def recall(self) -> None:
        """Takes back those that have not begun."""
        self._executor.recall([identity for identity, sent in self._sent.items() if sent.begun_s is None])

    def ask_to_end(self) -> None:
        """The allocation ends soon: run functions that look for it save what they have."""
        self._executor.stop(list(self._sent), State.INTERRUPTED)

    def interrupt(self) -> None:
        """Ends all that run."""
        self._executor.kill(list(self._sent), State.INTERRUPTED)

    def write_off(self) -> None:
        """Ends, as interrupted, those that did not even tell their end."""
        now = time.time()
        for sent in list(self._sent.values()):
            self._settle(sent.evaluation, sent.placement, Ended(State.INTERRUPTED, None, now))

    def _take_back_stuck(self) -> None:
        """Takes back what waits behind an evaluation that takes much longer than usual."""
        patience_s = max(STUCK_AT_LEAST_S, STUCK_FACTOR * (self._durations.quantile(0.5) or 0.0))
        latest_s = time.monotonic() - patience_s
        # One that is judged later has left its slot: who follows there is not behind it.
        at_work = [sent for sent in self._sent.values() if not sent.judged_later]
        stuck = {sent.placement for sent in at_work if sent.begun_s is not None and sent.begun_s < latest_s}
        waiting = [
            identity for identity, sent in self._sent.items() if sent.begun_s is None and sent.placement in stuck
        ]
        if waiting:
            self._executor.recall(waiting)
        self._loop.call_later(STUCK_AT_LEAST_S, self._take_back_stuck)

    # ---- what becomes of them

    def refuse(self, evaluation: Evaluation, failure: Failure) -> None:
        """Ends one that waited, and was found to be impossible to run."""
        now, tested = time.time(), self._successes.testing
        self._packing.forget(evaluation.id)
        evaluation.attempt += 1
        evaluation.failures += 1
        end = Ended(State.FAILED, now, now, 0.0, failure=asdict(failure))
        self._recording.started(evaluation, NOWHERE, now)
        self._recording.ended(evaluation, NOWHERE, end, final=True)
        self._successes.take(end.state)
        if tested:
            self._on_test_failed(evaluation, end)

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        if evaluation.id not in self._sent:
            return  # it had been written off
        check_transition(State.PROPOSED, State.RUNNING)
        self._sent[evaluation.id].begun_s = time.monotonic()
        self._recording.started(evaluation, placement, at)

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None:
        if self._sent.pop(evaluation.id, None) is None:
            return  # it had been written off
        self._fleet.table.leave(placement)
        evaluation.attempt -= 1
        self._supply.put_back(evaluation)

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if end.killed_by not in ENDING_SIGNALS or evaluation.id not in self._sent:
            self._settle(evaluation, placement, end)
        elif self.terminating:
            self._settle(evaluation, placement, _interrupted(end))
        else:
            self._sent[evaluation.id].judged_later = True
            self._fleet.table.leave(placement)
            self._loop.call_later(VERDICT_AFTER_S, lambda: self._judge(evaluation, placement, end))

    def _judge(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        """A process was killed a moment ago: by whoever ends the allocation, or by something of its own."""
        self._settle(evaluation, placement, _interrupted(end) if self.terminating else end)

    def _settle(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        sent = self._sent.pop(evaluation.id, None)
        if sent is None:
            return  # it had been written off
        if not sent.judged_later:
            self._fleet.table.leave(placement)
        if end.state is State.FINISHED and end.duration_s is not None:
            # What a launch takes before and after the run function counts, where time is to be judged by these.
            held_s = end.duration_s if self._plan.uses_slots else time.monotonic() - sent.sent_s
            self._durations.add(held_s)
        check_transition(State.RUNNING, end.state)
        tested = self._successes.testing
        again = self._is_tried_again(evaluation, end.state, tested)
        self._recording.ended(evaluation, placement, end, final=not again and end.state is not State.INTERRUPTED)
        if again:
            check_transition(end.state, State.PROPOSED)
            self._recording.requeued(evaluation)
            self._supply.append(evaluation)
        self._cut_off = self._cut_off or end.state is State.INTERRUPTED
        self._successes.take(end.state)
        self._fleet.take(placement, end)
        if tested and self._has_failed(end.state, again):
            self._on_test_failed(evaluation, end)

    def _has_failed(self, state: State, again: bool) -> bool:
        """Whether the one that has to succeed first has not, by how it ended and whether it will be tried again."""
        if state is State.INTERRUPTED:  # by the walltime's end, which will not suffice the next time either
            return not (self.terminating or self._plan.resumable)
        return state is State.FAILED or (state is not State.FINISHED and not again)

    def _is_tried_again(self, evaluation: Evaluation, state: State, tested: bool) -> bool:
        if state is State.FAILED and tested:
            return True  # by the allocation that comes once the run function is mended
        tried_again = state is State.LOST or (state is State.FAILED and self._plan.retry_failed)
        if state in COUNTED_STATES:
            evaluation.failures += 1
        return tried_again and evaluation.failures < self._plan.max_attempts


def _interrupted(end: Ended) -> Ended:
    return replace(end, state=State.INTERRUPTED, failure=None)
