"""Early release: node-seconds held on a real Slurm cluster, with and without giving idle nodes back.

Each round runs one search of log-normal durations and a fixed budget twice on the same durations: once as it is, once
with ``release = "none"``. Both are compared with the least possible for these durations (release_simulated.py says
what that is), with what a clairvoyant placing holds, and with what the same rule holds in the simulation, where
starting, gathering and giving back take no time: what is beyond that is overhead, a second or two for each node however
long evaluations are.

    python benchmarks/release.py [--queue debug] [--account lab] [--nodes 4] [--rounds 3] [--scale 4]
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from pathlib import Path

from common import median, rows, table, workspace
from release_simulated import clairvoyant, least_held_s, simulate, tail

import hpcsearch
from hpcsearch.allocation.tail import ROUND
from hpcsearch.schedulers import AllocationState
from hpcsearch.workflow.layout import Layout

RUN = """
import math, random, time, hpcsearch
def run(config):
    draw = random.Random(f"SEED/{hpcsearch.evaluation().id}").gauss(0, 1)
    time.sleep(min(LONGEST, MEDIAN * math.exp(SIGMA * draw)))
    return config["x"]
"""

SITE = 'name = "held"\nscheduler = "slurm"\nopen_queues = true\nrelease = "none"\n[launcher]\nkind = "srun"\n'

#: Median and longest duration (seconds), and the spread of their logarithms.
TAILS = {"light": (1.0, 5.0, 0.5), "heavy": (0.7, 30.0, 1.2)}


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
        if submitted.status().state is AllocationState.ENDED and rows(submitted.layout, ended) != [(1,)]:
            raise SystemExit(f"allocation {submitted.job_id} ended without its driver: {submitted.layout.root}")
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
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tails", default=",".join(TAILS))
    parser.add_argument("--scale", type=float, default=4.0, help="durations are multiplied by this")
    chosen = parser.parse_args()
    count = 8 * chosen.nodes * chosen.slots
    for tail_name in chosen.tails.split(","):
        median_s, longest_s, sigma = TAILS[tail_name]
        median_s, longest_s = chosen.scale * median_s, chosen.scale * longest_s
        lines: list[list[float]] = []
        for seed in range(chosen.first_seed, chosen.first_seed + chosen.rounds):
            with workspace() as folder:
                text = RUN
                for word, value in (("SEED", seed), ("MEDIAN", median_s), ("SIGMA", sigma), ("LONGEST", longest_s)):
                    text = text.replace(word, str(value))
                (folder / "run.py").write_text(text)
                (folder / "held.toml").write_text(SITE)
                with_release_s, span_s = run("released", "slurm", chosen, count)
                without_s, held_span_s = held_to_the_end(folder, chosen, count)
            seconds = durations(seed, count, median_s, sigma, longest_s)
            least_s = least_held_s(seconds, chosen.slots)
            simulated_s, _ = simulate(seconds, chosen.nodes, chosen.slots, tail(ROUND))
            clairvoyant_s, _ = clairvoyant(seconds, chosen.nodes, chosen.slots)
            helds = [with_release_s, without_s, simulated_s, clairvoyant_s]
            ratios = [held_s / least_s for held_s in helds]
            lines.append([seed, least_s, *ratios, with_release_s / without_s, span_s / held_span_s, span_s])
        columns = list(zip(*lines, strict=True))
        table(
            f"{tail_name} tail: {count} evaluations, median {median_s} s, sigma {sigma}; node-seconds held / least",
            ["seed", "least", "released", "held", "simulated", "clairvoyant", "released/held", "span/held's", "span s"],
            [*lines, ["median", *(median(column) for column in columns[1:])]],
        )


if __name__ == "__main__":
    main()
