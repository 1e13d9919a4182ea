"""An allocation's time: when it ends, and what can still be done before."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.plan import Plan

#: An evaluation is expected to take no longer than this share of those before it.
EXPECTED_QUANTILE = 0.9


def deadline_at(plan: Plan, environment: Mapping[str, str] = os.environ) -> float:
    """When the allocation ends (seconds since 1970), as its job script told, else counted from now."""
    told = environment.get("HPCSEARCH_DEADLINE")
    return float(told) if told else time.time() + plan.walltime_s


class Clock:
    """Decides by the time that is left, on this process's monotonic clock."""

    def __init__(self, plan: Plan, deadline_at: float, durations: Durations) -> None:
        self._plan = plan
        self._durations = durations
        self._grace_s = min(plan.grace_s, plan.walltime_s / 4)
        self._ends_s = time.monotonic() + deadline_at - time.time() - self._grace_s

    @property
    def time_left_s(self) -> float:
        """Seconds until evaluations must have ended; what follows is for killing, recording and closing."""
        return self._ends_s - time.monotonic()

    def use(self, durations: Durations) -> None:
        """Judges by these durations from now on."""
        self._durations = durations

    def shorten(self, time_left_s: float) -> None:
        """Somebody else ends the allocation: there is no more time than this."""
        self._ends_s = min(self._ends_s, time.monotonic() + time_left_s)

    def expected_s(self) -> float | None:
        """How long an evaluation may take, by those that finished and by its time limit; None when nothing is known."""
        known = self._durations.quantile(EXPECTED_QUANTILE)
        limit_s = self._plan.eval_timeout_s
        if known is None:
            return limit_s
        return known if limit_s is None else min(known, limit_s)

    def may_start(self) -> bool:
        """Whether an evaluation that begins now can finish; with --resumable, whether it can begin at all."""
        left_s = self.time_left_s
        if self._plan.resumable:
            return left_s > 0
        expected_s = self.expected_s()
        return left_s > (0.0 if expected_s is None else expected_s)

    def next_change_s(self) -> float:
        """Seconds until ``may_start`` can turn false by the passing of time alone."""
        expected_s = 0.0 if self._plan.resumable else self.expected_s() or 0.0
        left_s = self.time_left_s
        return left_s - expected_s if left_s > expected_s else max(0.0, left_s) or math.inf
