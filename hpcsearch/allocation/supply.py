"""What is to be run next: evaluations that wait in the database, and those that the search is asked for in time."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.proposals import Proposals, Stock
from hpcsearch.allocation.recording import Outcome, Recording
from hpcsearch.allocation.sizing import Sizing
from hpcsearch.evaluation import Configuration, Evaluation, Failure

log = logging.getLogger(__name__)

#: While evaluations are shorter than this (seconds, median), spares are used before a slot is idle: the search takes
#: about as long to come up.
SPARES_BELOW_S = 1.0


@dataclass(frozen=True)
class Demand:
    """What the slots need: how many there are, how many have nothing to do, how many are at work, and how fast.

    ``free`` are those that will get something; ``room`` is how many evaluations may be started in all.
    """

    slots: int
    free: int
    busy: int
    median_s: float | None
    room: float


class Supply:
    """The pool of evaluations that may be started at any time, refilled before it runs short.

    A configuration comes from the search (or from the spare ones that submit has left), is claimed against the budget
    by the recorder, which makes it an evaluation in the database, and only then is it in the pool.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        recording: who claims.
        workflow: the workflow's row.
        unfinished: what waits in the database.
        fresh: whether nothing has ended yet.
        on_failed: called with a sentence when there is no search any more.
        on_refused: called with an evaluation whose needs cannot be told, and why.
    """

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        recording: Recording,
        workflow: Mapping[str, Any],
        unfinished: Sequence[Evaluation],
        fresh: bool,
        on_failed: Callable[[str], None],
        on_refused: Callable[[Evaluation, Failure], None],
    ) -> None:
        self._recording = recording
        self._resources = plan.resources
        self._pool: deque[Evaluation] = deque()
        self._sizing = Sizing(loop, plan, self._pool.append, on_refused) if plan.sized else None
        self._take_in(unfinished)
        self._claiming: deque[Configuration] = deque()
        self._asked_at: deque[tuple[int, float]] = deque()
        self._stock = Stock()
        limit = workflow["max_evals"]
        self._budget_left: float = math.inf if limit is None else max(0, limit - workflow["claimed"])
        #: A search with one slot and a seed gives the same configurations each time.
        self._repeatable = plan.at_once == 1 and workflow["seed"] is not None
        #: What the search may come to the end of.
        self._whole = "grid" if workflow["search"] == "grid" else "search space"
        known = [evaluation.configuration for evaluation in unfinished]
        # An earlier driver of this allocation may have used them.
        unused = fresh and not self._repeatable and not any(spare in known for spare in plan.spares[:1])
        self._spares = deque(plan.spares if unused else ())
        self._proposals = Proposals(
            loop, workflow, self._repeatable, recording.learned, self._claim, recording.ask_history, on_failed
        )

    # ---- what the driver takes and gives back

    def __len__(self) -> int:
        """How many evaluations could be started now."""
        return len(self._pool)

    def take(self) -> Evaluation:
        """The next evaluation."""
        self._stock.used(1)
        return self._pool.popleft()

    def first(self, count: int) -> list[Evaluation]:
        """The next ones, so many where there are as many."""
        return list(itertools.islice(self._pool, count))

    def take_out(self, evaluation: Evaluation) -> None:
        """Takes one of the next ones out of its turn."""
        self._stock.used(1)
        self._pool.remove(evaluation)

    def put_back(self, evaluation: Evaluation) -> None:
        """It has not begun: it is the next again."""
        self._pool.appendleft(evaluation)

    def append(self, evaluation: Evaluation) -> None:
        """It is to be tried again."""
        self._pool.append(evaluation)

    @property
    def coming(self) -> int:
        """Configurations that were asked for, are being claimed, or whose needs are being asked for."""
        return self._proposals.outstanding + len(self._claiming) + len(self._sizing or ())

    @property
    def left(self) -> float:
        """How many evaluations may still be started, at most."""
        return len(self._pool) + (self.coming if self._proposals.exhausted else max(self.coming, self._budget_left))

    @property
    def end(self) -> str:
        """Why no evaluation will ever be started any more; empty as long as one may."""
        if self._pool or self.coming:
            return ""
        if self._budget_left <= 0:
            return "the budget of evaluations is spent"
        return f"every configuration of the {self._whole} has been evaluated" if self._proposals.exhausted else ""

    def close(self) -> None:
        """Ends the search's process, and the one that asks what evaluations need."""
        self._proposals.close()
        if self._sizing is not None:
            self._sizing.close()

    def _take_in(self, evaluations: Sequence[Evaluation]) -> None:
        if self._sizing is not None:
            self._sizing.ask(evaluations)
            return
        for evaluation in evaluations:
            evaluation.resources = self._resources
        self._pool.extend(evaluations)

    # ---- keeping it filled

    def replenish(self, demand: Demand) -> None:
        """Asks the search for what will be needed by the time it has answered."""
        proposals = self._proposals
        room = min(self._budget_left, demand.room - len(self._pool)) - self.coming
        if proposals.exhausted or room <= 0 or self._waits(demand):
            return
        if not proposals.started and (demand.busy or not self._pool):
            proposals.start()  # not before the first evaluation runs: its imports would take the cores from that
        wanted = self._wanted(demand)
        missing = int(min(room, wanted + demand.free - len(self._pool) - self.coming))
        if missing <= 0:
            return
        if not proposals.ready:
            self._use_spares(missing, demand)
        elif missing >= min(room, wanted, 1 + wanted // 4):
            self._spares.clear()  # from now on the search proposes them itself
            self._asked_at.append((missing, time.monotonic()))
            proposals.ask(missing)

    def _waits(self, demand: Demand) -> bool:
        """Whether the search has nothing to propose before more has ended; where nothing will, it is at its end."""
        if self._proposals.waiting and not (demand.busy or self._pool or self.coming) and self._recording.settled:
            self._proposals.exhausted = True
        return self._proposals.waiting

    def _wanted(self, demand: Demand) -> int:
        """How many to have beyond what the free slots take."""
        if not self._repeatable:
            return self._stock.wanted(demand.slots, demand.median_s)
        # What the search knows when it is asked must not depend on time: it is asked when it has been told everything.
        return -demand.slots if demand.busy or not self._recording.settled else 0

    def _use_spares(self, count: int, demand: Demand) -> None:
        """Slots that would be idle until the search is up take from the spare configurations."""
        short = demand.median_s is not None and demand.median_s < SPARES_BELOW_S
        if short or demand.free > len(self._pool) + len(self._claiming):
            spares = [self._spares.popleft() for _ in range(min(count, len(self._spares)))]
            if spares:
                self._claim(spares)
                self._proposals.add(spares)

    def _claim(self, configurations: list[Configuration]) -> None:
        if configurations:
            self._claiming.extend(configurations)
            self._recording.propose(configurations)
        else:
            self._asked_at.clear()

    # ---- what the recorder has to say

    def claimed(self, evaluations: list[Evaluation], full: bool) -> None:
        """These are PROPOSED now; ``full`` tells that the budget had no room for the others."""
        self._take_in(evaluations)
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
        """These results are in the database: the search learns them."""
        self._proposals.tell(outcomes)

    def progress(self, evaluation: Evaluation, value: float) -> None:
        """What a running evaluation has come to so far, where a stopping rule judges by such values."""
        self._proposals.progress(evaluation.configuration, value)

    def history(self, outcomes: list[Outcome], last: bool, running: Collection[Evaluation]) -> None:
        """A page of what had ended before the search's process began; with the last one it learns what is under way."""
        sized = self._sizing.evaluations if self._sizing is not None else ()
        under_way = [evaluation.configuration for evaluation in (*running, *self._pool, *sized)]
        self._proposals.inform(outcomes, last, [*under_way, *self._claiming, *self._recording.unsettled])
