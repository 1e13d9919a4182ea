"""How busy thousands of workers are kept: the real driver, recorder, database and search; evaluations that only last.

Everything is real but the evaluations: an executor that stands in for all nodes starts them at once, and ends each
after a log-normal time, by the wall clock. Printed are the share of the workers' time that was busy, from when the
nodes are up to when the last evaluation of the budget begins, and the CPU time for each evaluation.

    python benchmarks/many_workers.py [--workers 1920] [--seconds 60] [--rounds 4] [--search ambs] [--dimensions 10]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import table, workspace

import hpcsearch
from hpcsearch.allocation import driver as drivers
from hpcsearch.allocation.executor import Ended, Listener
from hpcsearch.allocation.launch import Host
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.submission import api
from hpcsearch.workflow.layout import Layout

PROBLEM = """
from hpcsearch import HpProblem
Problem = HpProblem()
for index in range({dimensions} - 2):
    Problem.add_hyperparameter((0.0, 1.0), f"x{{index}}")
Problem.add_hyperparameter((1, 1000, "log-uniform"), "n")
Problem.add_hyperparameter(["a", "b", "c"], "kind")
"""

SIGMA = 0.5


def worth(configuration: dict[str, Any]) -> float:
    """Greater is better."""
    return -sum((value - 0.3) ** 2 for name, value in configuration.items() if name.startswith("x"))


class Pretended:
    """All nodes of an allocation; ``seconds`` is the median of how long evaluations take."""

    workers = 0
    seconds = 0.0
    latest: Pretended

    def __init__(self, loop: Loop, plan: Plan, hosts: Sequence[Host], time_left_s: object, listener: Listener) -> None:
        Pretended.latest = self
        self._loop, self._listener = loop, listener
        self._random = random.Random(0)
        self.up_s = self.last_start_s = 0.0
        self.running: list[tuple[float, float]] = []  # when each began and will end, by the monotonic clock
        loop.call_later(0.0, lambda: self._come_up(hosts[0].name))

    def _come_up(self, name: str) -> None:
        self.up_s = time.monotonic()
        self._listener.node_up(
            name, {"cores": range(self.workers), "gpus": [], "memory_mb": self.workers}, self.workers
        )

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        now, at = time.monotonic(), time.time()
        duration_s = self.seconds * self._random.lognormvariate(0.0, SIGMA)
        self.last_start_s = now
        self.running.append((now, now + duration_s))

        def end() -> None:
            ended = Ended(State.FINISHED, at, time.time(), duration_s, worth(dict(evaluation.configuration)))
            self._listener.ended(evaluation, placement, ended)

        self._loop.call_later(0.0, lambda: self._listener.started(evaluation, placement, at))
        self._loop.call_later(duration_s, end)

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        """Nothing is stopped."""

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        """Nothing is killed."""

    def recall(self, evaluations: Iterable[int]) -> None:
        """What was started has begun."""

    def dispatch(self) -> None:
        """What was started has begun."""

    def empty(self, nodes: Iterable[str]) -> None:
        """There are no agents that could end."""

    def close(self) -> None:
        """There are no processes."""

    @property
    def filled_s(self) -> float:
        """When every worker had something for the first time."""
        return self.running[self.workers - 1][0]

    def busy(self, since_s: float) -> float:
        """The share of the workers' time that was busy, from then on and as long as there was something to start."""
        until_s = self.last_start_s
        spent = sum(max(0.0, min(end, until_s) - max(begin, since_s)) for begin, end in self.running)
        return spent / (self.workers * (until_s - since_s))


def created(workers: int, evaluations: int, search: str, dimensions: int) -> Layout:
    """A workflow as submit leaves it for so many slots, whose allocation nobody has started."""
    Path("problem.py").write_text(PROBLEM.format(dimensions=dimensions))
    api._start = lambda *_: ()  # type: ignore[assignment]
    api.announce = lambda *_: None
    submitted = hpcsearch.submit(
        "many", "problem.py", "run.py:nap", root="workflows", search=search, max_evals=evaluations, walltime_s=36_000,
        evals_per_node=workers, bind=False,
    )  # fmt: skip
    return submitted.layout


def cpu_s(who: int) -> float:
    """CPU seconds so far."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1920)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=float, default=4.0)
    parser.add_argument("--search", default="ambs")
    parser.add_argument("--dimensions", type=int, default=10)
    chosen = parser.parse_args()
    Pretended.workers, Pretended.seconds = chosen.workers, chosen.seconds
    evaluations = round(chosen.workers * chosen.rounds)
    with workspace():
        layout = created(chosen.workers, evaluations, chosen.search, chosen.dimensions)
        drivers.Executors = Pretended  # type: ignore[misc, assignment]
        before_s, began_s = cpu_s(resource.RUSAGE_SELF), time.monotonic()
        outcome = drivers.Driver(Plan.load(layout.allocation(1) / "plan.json")).run()
        driver_s, wall_s = cpu_s(resource.RUSAGE_SELF) - before_s, time.monotonic() - began_s
        print(f"{outcome}, after {wall_s:.0f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    nodes = Pretended.latest
    table(
        f"{chosen.workers} workers, evaluations of {chosen.seconds:g} s (log-normal, sigma {SIGMA}), {chosen.search}",
        ["evaluations", "busy share", "all had work after", "busy from then on", "driver, CPU ms", "search, recorder"],
        [
            [
                len(nodes.running),
                f"{nodes.busy(nodes.up_s):.4f}",
                f"{nodes.filled_s - nodes.up_s:.1f} s",
                f"{nodes.busy(nodes.filled_s):.4f}",
                f"{1000 * driver_s / evaluations:.2f}",
                f"{1000 * cpu_s(resource.RUSAGE_CHILDREN) / evaluations:.2f}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
