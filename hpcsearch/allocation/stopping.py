"""Early stopping: what evaluations report goes to the stopping rule, and those that it stops are asked to end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.executors import Executors
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.search.stopping import NONE, Stopper, create
from hpcsearch.search.stopping.metric import Metric, judged

log = logging.getLogger(__name__)

#: A report as it is recorded: evaluation, step, metrics.
Report = tuple[int, float | None, Mapping[str, Any]]


@dataclass
class _Running:
    """What is known of an attempt that has reported: its last value, and whether it was asked to end."""

    attempt: int
    last: float | None = None
    reports: int = 0
    asked: bool = False


class Stopping:
    """Holds the rule, and what running evaluations have reported last.

    A rule that cannot be loaded any more, or raises, stops nothing from then on; the search goes on.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        executor: what runs the evaluations.
        on_progress: called, while there is a rule, with what an evaluation has come to so far: in the unit of the
            objective, and ever more seldom.
    """

    def __init__(
        self, loop: Loop, plan: Plan, executor: Executors, on_progress: Callable[[Evaluation, float], None]
    ) -> None:
        self._on_progress = on_progress
        self._loop = loop
        self._plan = plan
        self._executor = executor
        self._metric = Metric.parse(plan.stopper_metric)
        self._rule: Stopper | None = None
        self._sign = 1.0
        self._estimates = False
        self._counts: dict[int, int] = {}  # reports with the metric, by evaluation, where these are its steps
        self._running: dict[int, _Running] = {}
        self._condemned: set[int] = set()  # evaluations that the rule has stopped
        self._past: list[Report] = []
        self._warned = False

    # ---- what was before

    def past(self, reports: Iterable[Report]) -> None:
        """A page of what was reported to earlier drivers, in order; they come before ``opened``."""
        self._past += reports

    def opened(self, minimize: bool, known: bool, finished: Iterable[int]) -> None:
        """The database is open: the objective's sense (if it is ``known``), and who finished of those that reported."""
        self._sign = self._metric.sign(minimize)
        self._estimates = known and self._metric.estimates_objective(minimize)
        if self._plan.stopper == NONE:
            return
        try:
            self._rule = create(self._plan.stopper, self._plan.cwd, **self._plan.stopper_arguments)
            for evaluation, step, metrics in self._past:
                value = self._metric.value(metrics)
                if value is not None:
                    self._rule.tell(evaluation, self._step(evaluation, step), judged(value, self._sign))
            for evaluation in finished:
                self._rule.ended(evaluation, True)
        except Exception as error:  # noqa: BLE001 - a rule may be anybody's
            self._give_up(error)
        self._past.clear()

    # ---- what happens

    def reported(self, evaluation: Evaluation, step: float | None, metrics: Mapping[str, Any]) -> None:
        """A running evaluation told how it is doing."""
        value = self._metric.value(metrics)
        if value is None:
            self._warn(metrics)
            return
        running = self._running.get(evaluation.id)
        if running is None or running.attempt != evaluation.attempt:
            running = self._running[evaluation.id] = _Running(evaluation.attempt)
        running.last = value
        running.reports += 1
        if self._rule is None:
            return
        try:
            stops = self._rule.tell(evaluation.id, self._step(evaluation.id, step), judged(value, self._sign))
        except Exception as error:  # noqa: BLE001 - a rule may be anybody's
            self._give_up(error)
            return
        if stops:
            self._condemned.add(evaluation.id)
        if evaluation.id in self._condemned and not running.asked:
            running.asked = True
            self._stop(evaluation.id, evaluation.attempt)
        elif self._estimates and not running.asked and running.reports.bit_count() == 1 and math.isfinite(value):
            self._on_progress(evaluation, value)  # after 1, 2, 4, 8, ... reports

    def ended(self, evaluation: Evaluation, end: Ended) -> Ended:
        """An attempt ended; returns how, with what is known of one that was stopped."""
        running = self._running.pop(evaluation.id, None)
        if self._rule is not None and end.state not in (State.LOST, State.INTERRUPTED):
            self._counts.pop(evaluation.id, None)
            self._condemned.discard(evaluation.id)
            try:
                self._rule.ended(evaluation.id, end.state is State.FINISHED)
            except Exception as error:  # noqa: BLE001 - a rule may be anybody's
                self._give_up(error)
        if end.state is State.INTERRUPTED:
            return replace(end, failure=None)
        if end.state is not State.STOPPED:
            return end
        last = None if running is None else running.last
        objective = end.objective
        if objective is None and self._estimates and last is not None and math.isfinite(last):
            objective = last
        return replace(end, objective=objective, failure=self._why(running, end))

    def _why(self, running: _Running | None, end: Ended) -> Mapping[str, str]:
        if running is None or not running.asked:
            said = (end.failure or {}).get("message", "")
            return {"kind": "Stopped", "message": f"the run function stopped itself: {said}", "traceback": ""}
        how = "" if end.objective is not None or end.failure is not None else ", and its process was ended"
        message = f"stopped by {self._plan.stopper} after {running.last:g}{how}"
        return {"kind": "Stopped", "message": message, "traceback": ""}

    # ---- how it is done

    def _step(self, evaluation: int, step: float | None) -> float:
        if step is not None and math.isfinite(step):
            return step
        self._counts[evaluation] = self._counts.get(evaluation, 0) + 1
        return float(self._counts[evaluation])

    def _stop(self, evaluation: int, attempt: int) -> None:
        self._executor.stop([evaluation], State.STOPPED)
        self._loop.call_later(self._plan.stop_grace_s, lambda: self._insist(evaluation, attempt))

    def _insist(self, evaluation: int, attempt: int) -> None:
        """One that was asked to end and still runs is ended."""
        running = self._running.get(evaluation)
        if running is not None and running.attempt == attempt:
            self._executor.kill([evaluation], State.STOPPED)

    def _give_up(self, error: Exception) -> None:
        self._rule = None
        said = error.message if isinstance(error, HpcsearchError) else f"{type(error).__name__}: {error}"
        log.error("the stopping rule %s failed, and stops nothing any more: %s", self._plan.stopper, said)

    def _warn(self, metrics: Mapping[str, Any]) -> None:
        if self._rule is None or self._warned or not metrics:
            return
        self._warned = True
        wanted = self._metric.name or "one that is called objective, or the only one"
        log.warning(
            "a report has no number for the stopping rule (%s), but %s; --stopper-metric says which one decides",
            wanted,
            ", ".join(sorted(metrics)),
        )
