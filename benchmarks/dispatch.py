"""Dispatch: no-op evaluations a second through the whole stack, the busy share of slots, and the driver's memory.

Everything goes through ``hpcsearch.submit`` on site local: search process, driver, agent, slots, and the database with
every configuration committed before it is sent and every result before it is told. The peer is mpi4py.futures, with
two workers and the same no-op, which keeps nothing. The two alternate in one run: a noisy machine disturbs both.

    python benchmarks/dispatch.py [--rounds 3] [--evaluations 30000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import median, rows, search, table, workspace

from hpcsearch.workflow.layout import Layout

PEER = """
import sys, time
from mpi4py.futures import MPIPoolExecutor
def noop(config):
    return config["x"]
if __name__ == "__main__":
    count = int(sys.argv[1])
    with MPIPoolExecutor() as pool:
        pool.bootup()
        list(pool.map(noop, [{"x": 0.5}] * 100, unordered=True))
        start = time.perf_counter()
        for _ in pool.map(noop, ({"x": i / count} for i in range(count)), unordered=True):
            pass
        print(count / (time.perf_counter() - start))
"""


def peer(count: int) -> float:
    """No-op calls a second of mpi4py.futures with two workers."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "peer.py")
        script.write_text(PEER)
        mpiexec = Path(sys.executable).parent / "mpiexec"
        argv = [str(mpiexec), "-n", "3", sys.executable, "-m", "mpi4py.futures", str(script), str(count)]
        return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[-1])


def no_ops(name: str, count: int) -> tuple[float, float]:
    """No-op evaluations a second, from the first one's start to the last result's commit, and commits a second."""
    layout = search(name, "noop", search="random", max_evals=count, evals_per_node=2, bind=True)
    ((ended, first, last),) = rows(layout, "select count(*), min(started_at), max(gathered_at) from evaluation")
    ((commits,),) = rows(layout, "select counter from lease")
    assert ended == count, f"{ended} of {count} evaluations ended"
    return count / (last - first), commits / (last - first)


def busy_share(name: str, strategy: str, count: int, slots: int) -> float:
    """The share of the slots' time in which an evaluation of 50 ms ran, from the first start to the last end."""
    layout = search(name, "nap", search=strategy, max_evals=count, evals_per_node=slots, bind=False)
    query = "select sum(duration_s), min(started_at), max(ended_at), count(*) from evaluation where state = 'FINISHED'"
    ((busy_s, first, last, ended),) = rows(layout, query)
    assert ended == count, f"{ended} of {count} evaluations ended"
    return float(busy_s / (slots * (last - first)))


class Memory(threading.Thread):
    """Watches the resident memory of the driver (MB) while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb: dict[str, float] = {}

    def run(self) -> None:
        while True:
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
                    arguments = status.with_name("cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                for module in (b"hpcsearch.allocation", b"hpcsearch.allocation.recorder", b"hpcsearch.search.server"):
                    if module in arguments and "VmRSS" in fields:
                        name = module.decode()
                        used_mb = int(fields["VmRSS"].split()[0]) / 1024
                        self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), used_mb)
            time.sleep(0.5)


def rate_table(rounds: int, count: int) -> None:
    ours, theirs, lines = [], [], []
    for number in range(rounds):
        theirs.append(peer(count))
        rate, commits = no_ops(f"noop{number}", count)
        ours.append(rate)
        lines.append([number + 1, rate, theirs[-1], rate / theirs[-1], commits])
    ratio = median([ours_ / theirs_ for ours_, theirs_ in zip(ours, theirs, strict=True)])
    lines.append(["median", median(ours), median(theirs), ratio, ""])
    header = ["round", "hpcsearch/s", "mpi4py.futures/s", "ratio", "commits/s"]
    table(f"{count:,} no-op evaluations, two slots or workers", header, lines)


def busy_table(rounds: int) -> None:
    lines = []
    for strategy in ("random", "ambs"):
        shares = [busy_share(f"nap-{strategy}{number}", strategy, 800, 8) for number in range(rounds)]
        lines.append([strategy, median(shares), min(shares), max(shares)])
    table("8 slots, 800 evaluations of 0.05 s: busy share", ["search", "median", "least", "most"], lines)


def memory_table(count: int) -> Layout:
    watch = Memory()
    watch.start()
    layout = search("memory", "noop", search="random", max_evals=count, evals_per_node=2)
    table(f"Resident memory at its peak, {count:,} evaluations (MB)", ["process", "MB"], list(watch.peak_mb.items()))
    return layout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=30_000)
    parser.add_argument("--only", choices=["rate", "busy", "memory"])
    chosen = parser.parse_args()
    with workspace():
        if chosen.only in (None, "rate"):
            rate_table(chosen.rounds, chosen.evaluations)
        if chosen.only in (None, "busy"):
            busy_table(chosen.rounds)
        if chosen.only in (None, "memory"):
            memory_table(100_000)


if __name__ == "__main__":
    main()
