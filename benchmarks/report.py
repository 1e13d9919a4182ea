"""What a page on a large search costs: seconds, megabytes of memory and of HTML.

``python benchmarks/report.py [--evals 50000] [--reports 10] [--keep DIR]`` makes a workflow whose database holds so
many evaluations with five hyperparameters, a tenth of them failed, and times ``hpcsearch report`` as a person runs it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import table
from sqlalchemy import update

from hpcsearch.evaluation import State
from hpcsearch.workflow import database, lease, schema, store
from hpcsearch.workflow.layout import Layout, new_directory

_PAGE = 5000
_NODES, _SLOTS, _EACH_S = 8, 8, 10.0


def make(layout: Layout, count: int, reports: int) -> None:
    """A workflow of ``count`` evaluations, each with ``reports`` reports, on eight nodes of eight slots."""
    draw = random.Random(0)
    row = {
        "name": layout.name,
        "problem": "/p/problem.py:Problem",
        "run": "/p/run.py:run",
        "cwd": "/",
        "names": json.dumps(["activation", "dropout", "layers", "lr", "units"]),
        "minimize": 1,
        "search": "ambs",
        "search_arguments": "{}",
        "max_evals": count,
        "settings": "{}",
    }
    with new_directory(layout) as draft:
        engine = database.writer(draft.database, create=True)
        store.create(engine, row, 5.0, [])
        allocation = {"number": 1, "site": "local", "scheduler": "local", "queue": "q", "account": "a"}
        store.add_allocation(engine, {**allocation, "nodes": _NODES, "walltime_s": 1e6, "job_mode": "serial"})
        with engine.connect() as connection:
            free = lease.holder(connection)
        token = lease.take(engine, 1, os.getpid(), free)
        assert token is not None
        span_s = count / (_NODES * _SLOTS) * _EACH_S
        begin_at = time.time() - span_s
        for _ in range(0, count, _PAGE):
            rows = store.commit(engine, token, 1, [], [_configuration(draw) for _ in range(_PAGE)])
            batch = store.Batch()
            for identity, configuration in rows:
                _add(batch, identity, configuration, begin_at, reports, draw)
            store.commit(engine, token, 1, [batch], [])
        up = {"state": "RELEASED", "slots": _SLOTS, "held_from_at": begin_at, "held_to_at": begin_at + span_s}
        store.commit(engine, token, 1, [store.Batch(nodes=[{**up, "name": f"n{node}"} for node in range(_NODES)])], [])
        with engine.begin() as connection:
            connection.execute(update(schema.workflow).values(started_at=begin_at, finished_at=begin_at + span_s))
            connection.execute(
                update(schema.allocation).values(state="ENDED", started_at=begin_at, ended_at=time.time())
            )
        engine.dispose()


def _configuration(draw: random.Random) -> dict[str, object]:
    return {
        "activation": draw.choice(["relu", "tanh", "gelu"]),
        "dropout": draw.random() * 0.5,
        "layers": draw.randint(1, 8),
        "lr": 10 ** draw.uniform(-5, -1),
        "units": draw.randint(8, 512),
    }


def _add(
    batch: store.Batch, identity: int, point: dict[str, object], begin_at: float, reports: int, draw: random.Random
) -> None:
    slot = identity % (_NODES * _SLOTS)
    at = begin_at + identity // (_NODES * _SLOTS) * _EACH_S
    loss = (math.log10(float(str(point["lr"]))) + 3) ** 2 + float(str(point["dropout"])) + draw.gauss(0, 0.1)
    failed = draw.random() < 0.1
    start = {
        "evaluation": identity,
        "attempt": 1,
        "allocation": 1,
        "node": f"n{slot // _SLOTS}",
        "slot": slot % _SLOTS,
        "nodes": None,
        "slots": 1,
    }
    start |= {"state": State.RUNNING.value, "started_at": at}
    end = {"ended_at": at + 9.5, "duration_s": 9.5, "gathered_at": at + 9.6, "failures": int(failed), "metadata": None}
    state, kind = (State.FAILED, "ValueError") if failed else (State.FINISHED, None)
    why = {"error_kind": kind, "error_message": f"loss diverged in epoch {identity % 5}", "traceback": None}
    batch.started.append(start)
    batch.ended.append({**start, **end, **why, "state": state.value, "objective": None if failed else loss})
    for step in range(reports):
        metrics = json.dumps({"loss": loss + 1 / (step + 1)})
        batch.reports.append({"evaluation": identity, "attempt": 1, "step": step, "at": at + step, "metrics": metrics})


def main() -> None:
    """Makes the workflow, and times the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evals", type=int, default=50_000)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder in which the workflow stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpcsearch-benchmark-") as folder:
        layout = Layout((options.keep or Path(folder)).absolute() / "large")
        if not layout.root.exists():
            make(layout, options.evals, options.reports)
        page = Path(folder, "report.html")
        lines = []
        for _ in range(options.rounds):
            began_s = time.monotonic()
            command = [sys.executable, "-m", "hpcsearch.cli", "report", str(layout.root), "-o", str(page), "--force"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            lines.append((round(time.monotonic() - began_s, 1), page.stat().st_size / 1e6, round(peak_mb)))
        title = f"hpcsearch report, {options.evals:,} evaluations with {options.reports} reports each"
        table(title, ("seconds", "MB of HTML", "MB of memory"), sorted(lines))


if __name__ == "__main__":
    main()
