"""What a report costs the run function, in a real slot: in a burst, spaced out, and with another slot that reports too.

A process that is killed right behind its last report shows that none is lost for being cheap. ``should_stop()`` is
measured beside it.

    python benchmarks/report_cost.py [--rounds 5]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from common import median, search, table, workspace

import hpcsearch

RUN = """
import os, signal, time
import hpcsearch

def per(began, clock, count):
    return [1e6 * (time.perf_counter() - began) / count, 1e6 * (time.process_time() - clock) / count]

def burst(config):
    began, clock = time.perf_counter(), time.process_time()
    for step in range(20_000):
        hpcsearch.report(step, loss=0.123456, accuracy=0.5)
    return {"objective": 1.0, "report": per(began, clock, 20_000)}

def spaced(config):
    spent, worked = 0.0, 0.0
    for step in range(400):
        time.sleep(0.005)
        began, clock = time.perf_counter(), time.process_time()
        hpcsearch.report(step, loss=0.123456, accuracy=0.5)
        spent += time.perf_counter() - began
        worked += time.process_time() - clock
    began, clock = time.perf_counter(), time.process_time()
    for _ in range(100_000):
        hpcsearch.should_stop()
    asked = per(began, clock, 100_000)
    return {"objective": 1.0, "report": [1e6 * spent / 400, 1e6 * worked / 400], "should_stop": asked}

def killed(config):
    for step in range(500):
        hpcsearch.report(step, loss=0.123456)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def measure(name: str, function: str, slots: int) -> list[Any]:
    """The records of one search: an evaluation in each slot."""
    layout = search(name, function, evals_per_node=slots, max_evals=slots, search="random", bind=slots < 3)
    return hpcsearch.open_workflow(layout.root).records()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[list[float]]] = defaultdict(list)
    kept: list[int] = []
    with workspace() as folder:
        Path(folder, "run.py").write_text(RUN)
        for round_ in range(rounds):
            for what, slots in (("burst", 1), ("spaced", 1), ("burst", 2), ("spaced", 2)):
                for record in measure(f"{what}-{slots}-{round_}", what, slots):
                    found[f"{what}, {slots} slots"].append(record.metadata["report"])
                    if what == "spaced":
                        found["should_stop()"].append(record.metadata["should_stop"])
            (record,) = measure(f"killed-{round_}", "killed", 1)
            kept.append(len(record.reports))
    lines = []
    for what, pairs in found.items():
        passed, worked = zip(*pairs, strict=True)
        lines.append([what, median(passed), min(passed), max(passed), median(worked)])
    table("microseconds a call", ["", "median", "least", "most", "CPU alone"], lines)
    print(f"\nOf 500 reports before SIGKILL are in the database: {', '.join(map(str, kept))}.")


if __name__ == "__main__":
    main()
