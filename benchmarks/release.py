"""Early release: node-seconds held on a real Slurm cluster, with and without giving idle nodes back.

Each round runs one search of log-normal durations and a fixed budget twice on the same durations: once as it is, once
with ``release = "none"``. Both are compared with the least possible for these durations: the busy slot-seconds divided
by the slots of a node, plus what the first node must be held for beyond its own share, from a clairvoyant placing
(longest first, on as few nodes as end together) of the same durations.

    python benchmarks/release.py [--queue debug] [--account lab] [--nodes 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import random
import time
from pathlib import Path

from common import median, rows, table, workspace

import hpcsearch
from hpcsearch.workflow.layout import Layout

RUN = """
import math, random, time, hpcsearch
def run(config):
    draw = random.Random(f"SEED/{hpcsearch.evaluation().id}").gauss(0, 1)
    time.sleep(min(LONGEST, MEDIAN * math.exp(SIGMA * draw)))
    return config["x"]
"""

SITE = 'name = "held"\nscheduler = "slurm"\nopen_queues = true\nrelease = "none"\n[launcher]\nkind = "srun"\n'


def durations(seed: int, count: int, median_s: float, sigma: float, longest_s: float) -> list[float]:
    """What the evaluations take, by id."""
    draws = (random.Random(f"{seed}/{number}").gauss(0, 1) for number in range(1, count + 1))
    return [min(longest_s, median_s * math.exp(sigma * draw)) for draw in draws]


def held_s(layout: Layout) -> tuple[float, float]:
    """Node-seconds held, and the seconds from the allocation's start to its end."""
    ((held, first, last),) = rows(
        layout, "select sum(held_to_at - held_from_at), min(held_from_at), max(held_to_at) from node"
    )
    return float(held), float(last - first)


def least_held_s(seconds: list[float], nodes: int, slots: int) -> float:
    """Node-seconds that a clairvoyant placing holds: the least over the makespans that it could choose.

    For each number of nodes that stay to the end, evaluations are packed longest first onto the slot that is free
    first; a node is held until its last slot ends, the first node until all have ended.
    """
    best = math.inf
    for used in range(1, nodes + 1):
        free = [(0.0, slot) for slot in range(used * slots)]
        ends = [0.0] * (used * slots)
        for duration_s in sorted(seconds, reverse=True):
            at_s, slot = heapq.heappop(free)
            ends[slot] = at_s + duration_s
            heapq.heappush(free, (ends[slot], slot))
        ends.sort(reverse=True)  # slots that end together share a node
        last = [ends[node * slots] for node in range(used)]
        best = min(best, max(sum(seconds) / slots, sum(last)))
    return best


def run(name: str, site: str, chosen: argparse.Namespace, count: int) -> tuple[float, float]:
    submitted = hpcsearch.submit(
        name,
        "problem.py",
        "run.py:run",
        root="workflows",
        nodes=chosen.nodes,
        walltime_s=900,
        queue=chosen.queue,
        account=chosen.account,
        site=site,
        search="random",
        max_evals=count,
        evals_per_node=chosen.slots,
    )
    ended = "select count(*) from allocation where state = 'ENDED'"
    while rows(submitted.layout, ended) != [(1,)]:
        time.sleep(0.5)
    return held_s(submitted.layout)


def held_to_the_end(folder: Path, chosen: argparse.Namespace, count: int) -> tuple[float, float]:
    """The same search on a site that takes no nodes back."""
    os.environ["HPCSEARCH_SITE_PATH"] = str(folder)
    try:
        return run("held", "held", chosen, count)
    finally:
        del os.environ["HPCSEARCH_SITE_PATH"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", default="debug")
    parser.add_argument("--account", default="lab")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    count = 8 * chosen.nodes * chosen.slots
    for title, median_s, sigma, longest_s in (("light tail", 1.0, 0.5, 5.0), ("heavy tail", 0.7, 1.2, 30.0)):
        lines = []
        for seed in range(chosen.rounds):
            with workspace() as folder:
                text = RUN
                for word, value in (("SEED", seed), ("MEDIAN", median_s), ("SIGMA", sigma), ("LONGEST", longest_s)):
                    text = text.replace(word, str(value))
                (folder / "run.py").write_text(text)
                (folder / "held.toml").write_text(SITE)
                with_release, span_s = run("released", "slurm", chosen, count)
                without, _ = held_to_the_end(folder, chosen, count)
            least = least_held_s(durations(seed, count, median_s, sigma, longest_s), chosen.nodes, chosen.slots)
            lines.append([seed, with_release, without, least, with_release / least, with_release / without, span_s])
        columns = list(zip(*lines, strict=True))
        lines.append(["median", *(median(list(column)) for column in columns[1:])])
        table(
            f"{title}: {count} evaluations, median {median_s} s, sigma {sigma}; node-seconds held",
            ["seed", "released", "held to the end", "least possible", "released/least", "released/held", "span s"],
            lines,
        )


if __name__ == "__main__":
    main()
