"""Agents: seconds until all of them are up, for 64 started on this machine, and for the nodes of a Slurm job.

python benchmarks/agents.py                     64 agents through local launchers
salloc -N4 python benchmarks/agents.py --srun   one on each node of an allocation
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import median, table

from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.executors import Executors
from hpcsearch.allocation.launch import Host, hosts
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.evaluation import Evaluation


class Watcher:
    """Notes when each node came up."""

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.up_s: list[float] = []

    def node_up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        self.up_s.append(time.perf_counter() - self.began_s)

    def node_down(self, name: str) -> None: ...

    def slot_lost(self, placement: Placement, reason: str) -> None: ...

    def node_lost(self, name: str, reason: str) -> None:
        raise SystemExit(f"{name}: {reason}")

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None: ...

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None: ...

    def recalled(self, evaluation: Evaluation, placement: Placement) -> None: ...

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None: ...

    def node_emptied(self, name: str) -> None: ...

    def unable(self, reason: str) -> None: ...

    def terminating(self) -> None: ...


def up_s(folder: Path, launch: Launch, nodes: list[Host]) -> list[float]:
    """When each of the nodes' agents was up, after the first one was started."""
    (folder / "run.py").write_text("def run(config):\n    return 0.0\n")
    plan = Plan(
        workflow="agents",
        directory=str(folder),
        allocation=1,
        site="local",
        run=str(folder / "run.py"),
        names=("x",),
        cwd=str(folder),
        job_mode="serial",
        nodes=len(nodes),
        walltime_s=600.0,
        launch=launch,
        bind=False,
    )
    loop, watcher = Loop(), Watcher()
    executor = Executors(loop, plan, nodes, 600.0, watcher)
    while len(watcher.up_s) < len(nodes):
        loop.turn()
    executor.close()
    return watcher.up_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--srun", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    launch = Launch("srun" if chosen.srun else "none")
    nodes = hosts(launch) if chosen.srun else [Host(f"local{number}") for number in range(64)]
    lines = []
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd() if chosen.srun else None) as folder:
            seconds = up_s(Path(folder), launch, nodes)
        lines.append([number + 1, seconds[0], median(seconds), seconds[-1]])
    columns = list(zip(*lines, strict=True))
    lines.append(["median", *(median(list(column)) for column in columns[1:])])
    table(f"{len(nodes)} agents: seconds until they are up", ["round", "first", "half", "all"], lines)


if __name__ == "__main__":
    main()
