"""MPI launches: seconds from placing an evaluation to its rank 0 in the run function, beside the bare launcher.

The bare launcher starts the same Python, which imports mpi4py and tells the time; both in turn. Then what the driver
costs while four launches are under way at any time.

python benchmarks/launch.py                               2 ranks on this machine
salloc -N2 python benchmarks/launch.py --srun             2 ranks on each of 2 nodes
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
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
from hpcsearch.allocation.mpirun import Ranks, mpi_argv, mpi_environment, resolved
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.evaluation import Evaluation, Resources

RUN = """\
import time

def run(config, comm):
    begun_at = time.time()
    time.sleep(config["sleep_s"])
    return begun_at
"""
HELLO = "from mpi4py import MPI; import time; at = time.time(); MPI.COMM_WORLD.rank or print(at, flush=True)"


class Watcher:
    """Notes which nodes are up, and what rank 0 told of when it was in the run function."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.begun_at: dict[int, float] = {}

    def node_up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        self.up.append(name)

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended) -> None:
        if end.objective is None:
            raise SystemExit(f"evaluation {evaluation.id} {end.in_words}")
        self.begun_at[evaluation.id] = end.objective

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Bench:
    """The nodes of an allocation, on which evaluations are launched as a driver does it."""

    def __init__(self, folder: Path, launch: Launch, nodes: list[Host], per_node: int) -> None:
        (folder / "run.py").write_text(RUN)
        self.nodes, self.per_node = [host.name for host in nodes], per_node
        plan = Plan(
            workflow="launch",
            directory=str(folder),
            allocation=1,
            site="local",
            run=str(folder / "run.py"),
            names=("sleep_s",),
            cwd=str(folder),
            job_mode="mpi",
            nodes=len(nodes),
            walltime_s=3600.0,
            launch=launch,
            mpi=launch,
            bind=False,
            nodes_per_eval=len(nodes),
            ranks_per_node=per_node,
        )
        self.loop, self.watcher = Loop(), Watcher()
        self.executors = Executors(self.loop, plan, nodes, 3600.0, self.watcher)
        self._next = 0
        while len(self.watcher.up) < len(nodes):
            self.loop.turn()

    def start(self, sleep_s: float) -> int:
        self._next += 1
        needs = Resources(len(self.nodes), self.per_node)
        evaluation = Evaluation(self._next, {"sleep_s": sleep_s}, attempt=1, resources=needs)
        first, *others = [Placement(name, 0) for name in self.nodes]
        self.executors.start(evaluation, Placement(first.node, first.slot, tuple(others)))
        return self._next

    def ours_s(self) -> float:
        """From placing to rank 0 in the run function."""
        placed_at = time.time()
        identity = self.start(0.0)
        while identity not in self.watcher.begun_at:
            self.loop.turn()
        return self.watcher.begun_at[identity] - placed_at

    def bare_s(self, launch: Launch) -> float:
        """From starting the launcher to rank 0 having imported mpi4py."""
        argv = mpi_argv(launch, Ranks(tuple(self.nodes), self.per_node), [sys.executable, "-P", "-c", HELLO])
        started_at = time.time()
        environment = mpi_environment(launch, os.environ)
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout.split()[-1]) - started_at

    def driver_share(self, launches: int, at_once: int) -> float:
        """The driver's share of a core while so many launches are under way, each 1 s long."""
        began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        waiting, under_way = launches, {self.start(1.0) for _ in range(at_once)}
        waiting -= at_once
        while under_way:
            self.loop.turn()
            ended = under_way & self.watcher.begun_at.keys()
            under_way -= ended
            for _ in range(min(len(ended), waiting)):
                waiting -= 1
                under_way.add(self.start(1.0))
        after = resource.getrusage(resource.RUSAGE_SELF)
        used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used_s / (time.monotonic() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--srun", action="store_true", help="on the nodes of this Slurm allocation")
    parser.add_argument("--ranks-per-node", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    chosen = parser.parse_args()
    launch = Launch("srun" if chosen.srun else "none")
    nodes = hosts(launch)
    with tempfile.TemporaryDirectory(dir=Path.cwd() if chosen.srun else None) as folder:
        bench = Bench(Path(folder), launch, nodes, chosen.ranks_per_node)
        bare = resolved(launch)
        pairs = [(bench.ours_s(), bench.bare_s(bare)) for _ in range(chosen.rounds)]
        share = bench.driver_share(12, 4)
        bench.executors.close()
    ours, theirs = ([pair[place] for pair in pairs] for place in (0, 1))
    ratio = median([mine / other for mine, other in pairs])
    lines = [["placing to rank 0 in run", median(ours)], ["bare launcher", median(theirs)], ["ratio of pairs", ratio]]
    title = f"{chosen.ranks_per_node} ranks on each of {len(nodes)} nodes by {bare.kind}: medians of {chosen.rounds}, s"
    table(title, ["", "median"], lines)
    table("with four launches under way", ["", ""], [["driver's share of a core", share]])


if __name__ == "__main__":
    main()
