"""Searches without anything to run: W workers whose evaluations take log-normal times, one event after the other."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from problems import Suite, Task

from hpcsearch.search import create

#: Tells the random numbers of the tasks, of the durations and of the noise apart, and from those that searches draw:
#: what shares a stream with a search would help it, or stand in its way.
_OF_TASKS, _OF_DURATIONS = 0x7A5C, 0xD07A


class Asked(Protocol):
    """What is needed of a search."""

    def ask(self, n: int) -> list[dict[str, Any]]: ...

    def tell(self, results: Sequence[tuple[Mapping[str, Any], float | None]]) -> None: ...


@dataclass
class Outcome:
    """What a search reached.

    Attributes:
        regrets: after each evaluation that ended: the true regret of the configuration that looks best, NaN before the
            first success.
        cpu_ms: CPU milliseconds of the search for each evaluation.
    """

    regrets: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0


def make_task(suite: Suite, problem: str, seed: int) -> Task:
    """A problem of a suite, the same for all searches with this seed."""
    return suite[problem](np.random.default_rng((seed, _OF_TASKS)))


def make_search(name: str, task: Task, seed: int) -> Asked:
    """A search by its name on the command line: ``ambs``, ``optuna,sampler=gp``, ``peers.py:Smac``."""
    strategy, *arguments = name.split(",")
    return create(strategy, task.problem, seed=seed, **dict(pair.split("=", 1) for pair in arguments))


def simulate(search: Asked, task: Task, evaluations: int, workers: int, seed: int) -> Outcome:
    """Runs a search to its end; a free worker asks at once, and results are told one by one."""
    rng = np.random.default_rng((seed, _OF_DURATIONS))
    running: list[tuple[float, int, dict[str, Any]]] = []
    outcome = Outcome()
    shown, true, now, started, cpu_s = math.inf, math.nan, 0.0, 0, 0.0
    while started < evaluations or running:
        wanted = min(workers - len(running), evaluations - started)
        if wanted:
            before = time.process_time()
            asked = search.ask(wanted)
            cpu_s += time.process_time() - before
            for configuration in asked:
                heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), started, configuration))
                started += 1
            evaluations = evaluations if asked else started
        if not running:
            break
        now, _, configuration = heapq.heappop(running)
        value = task.value(configuration)
        told = None if value is None else value + task.noise * rng.standard_normal()
        if value is not None and told is not None and told < shown:
            shown, true = told, value
        outcome.regrets.append(max(true - task.least, 0.0))
        before = time.process_time()
        search.tell([(configuration, told)])
        cpu_s += time.process_time() - before
    outcome.cpu_ms = 1000 * cpu_s / max(1, started)
    return outcome
