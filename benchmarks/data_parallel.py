"""Evaluations with several ranks: from their place to the first optimiser step, and several at once.

The peer is Horovod's own ``horovodrun`` with the same script: seconds from its start to the same step. Here it is the
seconds from the end of one evaluation, when the next is placed, to that one's first step. Horovod has to be installed
(``tools/install-horovod``); two ranks on this machine.

    python benchmarks/data_parallel.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from common import median, rows, search, table, workspace

SCRIPT = """
import json, time
import horovod.torch as hvd
import torch

def run(config):
    hvd.init()
    torch.manual_seed(hvd.rank())
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    times = []
    for step in range(config.get("steps", 20)):
        optimizer.zero_grad()
        model(torch.rand(64, 64)).square().mean().backward()
        optimizer.step()
        times.append(time.time())
    return {"objective": 0.0, "first_step": times[0], "size": hvd.size()}

if __name__ == "__main__":
    result = run({})
    if hvd.rank() == 0:
        print("RESULT", json.dumps(result))
"""

RANKS = 2


def horovodrun_s() -> float:
    """From the start of ``horovodrun`` to the first optimiser step."""
    program = Path(sys.executable).with_name("horovodrun")
    argv = [program, "-np", str(RANKS), "--gloo", sys.executable, "run.py"]
    began = time.time()
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    line = next(line for line in done.stdout.splitlines() if "RESULT" in line)
    words = dict(part.split(": ") for part in line[line.index("{") + 1 : line.rindex("}")].split(", "))
    assert int(words['"size"']) == RANKS
    return float(words['"first_step"']) - began


def campaign(name: str, count: int, at_once: int) -> list[dict[str, float]]:
    """Runs so many evaluations, so many at a time: start, end and first step of each (seconds since 1970)."""
    layout = search(
        name,
        "run",
        search="random",
        max_evals=count,
        data_parallel="horovod",
        ranks_per_node=RANKS,
        evals_per_node=at_once,
        bind=False,
    )
    query = (
        "select started_at, ended_at, json_extract(metadata, '$.first_step') from evaluation "
        "where state = 'FINISHED' order by ended_at"
    )
    found = [dict(zip(("began", "ended", "first_step"), row, strict=True)) for row in rows(layout, query)]
    assert len(found) == count, layout.log.read_text()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with workspace() as folder:
        (folder / "run.py").write_text(SCRIPT)
        ours: list[float] = []
        peer: list[float] = []
        for number in range(rounds):  # in turns, for the machine may be busy now and not then
            first, second = campaign(f"pair{number}", 2, 1)
            ours.append(second["first_step"] - first["ended"])
            peer.append(horovodrun_s())
        lines = [
            [name, median(values), min(values), max(values)]
            for name, values in (("hpcsearch", ours), ("horovodrun", peer))
        ]
        table(f"From placing to the first optimiser step, {RANKS} ranks (s)", ["", "median", "least", "most"], lines)
        spans = []
        for name, at_once in (("one at a time", 1), ("three at once", 3)):
            found = campaign(name.replace(" ", "-"), 6, at_once)
            span_s = max(one["ended"] for one in found) - min(one["began"] for one in found)
            spans.append([name, span_s, 60 * len(found) / span_s])
        table(f"6 evaluations of {RANKS} ranks", ["", "s", "evaluations a minute"], spans)


if __name__ == "__main__":
    main()
