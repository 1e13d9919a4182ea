"""Start-up: the command line, the driver, and from submit to the first evaluation.

The peer, where it is installed (``pip install optuna``), is the time from a new Python process to the first trial of an
Optuna study in memory; it validates nothing, records nothing and starts no other process. All are medians of
alternating runs, in seconds.

    python benchmarks/startup.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from common import median, rows, search, table, workspace

from hpcsearch.workflow.layout import Layout

PEER = """
import time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study()
study.optimize(lambda trial: print(time.time()) or trial.suggest_float("x", 0, 1), n_trials=1)
"""


def help_s() -> float:
    """``hpcsearch --help``, as a whole process."""
    began = time.perf_counter()
    subprocess.run([Path(sys.executable).parent / "hpcsearch", "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


def first_start(layout: Layout) -> float:
    """When the workflow's first evaluation began (seconds since 1970)."""
    ((first,),) = rows(layout, "select min(started_at) from evaluation")
    return float(first)


def submit_s(name: str) -> float:
    """From the command ``hpcsearch submit hps`` to the first evaluation."""
    command = "submit hps {} -p problem.py -r run.py:noop -n 1 -t 10 -q local -A none -j serial --max-evals 4 --wait"
    began = time.time()
    subprocess.run(
        [Path(sys.executable).parent / "hpcsearch", *command.format(name).split()], check=True, capture_output=True
    )
    return first_start(Layout(Path("workflows", name).absolute())) - began


def driver_s(name: str) -> float:
    """From the driver's process to the first evaluation, on a workflow with an initial design."""
    layout = search(name, "noop", search="random", max_evals=1)
    from hpcsearch.workflow import database, store

    engine = database.writer(layout.database)
    store.change_budget(engine, 8)
    with engine.begin() as connection:
        store._propose(connection, [{"x": 0.25}, {"x": 0.75}])
    began = time.time()
    argv = [sys.executable, "-P", "-m", "hpcsearch.allocation", str(layout.root), "1"]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "HPCSEARCH_DEADLINE": str(began + 600)})
    ((first,),) = rows(layout, "select min(started_at) from evaluation where id > 1")
    return float(first) - began


def peer_s() -> float:
    """From a new process to the first trial of an Optuna study in memory."""
    began = time.time()
    answer = subprocess.run([sys.executable, "-c", PEER], check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[0]) - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    measures = {
        "hpcsearch --help": lambda number: help_s(),
        "driver start to first evaluation": lambda number: driver_s(f"driver{number}"),
        "submit to first evaluation, site local": lambda number: submit_s(f"submit{number}"),
    }
    if importlib.util.find_spec("optuna"):
        measures["Optuna, process to first trial"] = lambda number: peer_s()
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    with workspace():
        for number in range(rounds):
            for name, measure in measures.items():
                seconds[name].append(measure(number))
    lines = [[name, median(values), min(values), max(values)] for name, values in seconds.items()]
    table("Start-up (s)", ["", "median", "least", "most"], lines)


if __name__ == "__main__":
    main()
