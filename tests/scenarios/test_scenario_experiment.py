"""Experiments from a script, here and in an allocation of a cluster, with data on the nodes' own storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scenario_bed import Bed, ClusterBed, Search, processes_of, until

from hpcsearch.evaluation import State
from hpcsearch.workflow.layout import Layout

pytestmark = pytest.mark.beds("local", "slurm")

SCRIPT = """\
import os
import socket
import sys
import time
from hpcsearch import data, experiment

place = dict(site={site!r}, queue={queue!r}, account={account!r}, nodes={nodes}, walltime="0:20:00", evals_per_node=2)

def training(x, kind):
    copy = data.copy_to_local("Resources")
    status = os.stat(os.path.join(copy, "train.csv"))
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    time.sleep(PACE)
    return {{"objective": x + len(kind), "copy": f"{{host}} {{copy}} {{status.st_ino}}"}}

PACE = {pace}
"""

GRID = """
if __name__ == "__main__":
    found = experiment.on(**place).grid_search(training, {"x": [1, 2, 3, 4], "kind": ["a", "bb", None][:2]})
    print("best", found.best, "of", len(found.evaluations))
"""

HANDLE = """
from pathlib import Path

def waiting(x):
    data.copy_to_local("Resources")
    Path(f"began-{x}").touch()
    time.sleep(600)

if __name__ == "__main__":
    begun = experiment.on(**place, wait=False).launch(waiting, {"x": [1]})
    print("begun", begun.done(), begun.submitted.job_id)
"""


def run(bed: Bed, code: str) -> str:
    """Runs a script on the bed; its nodes' own storage is a folder of the scenario."""
    (bed.folder / "Resources").mkdir(exist_ok=True)
    (bed.folder / "Resources" / "train.csv").write_text("a,b\n")
    disk(bed).mkdir(exist_ok=True)
    facts = {"site": bed.name, "queue": bed.queue, "account": bed.account, "nodes": bed.nodes, "pace": bed.pace / 100}
    (bed.folder / "script.py").write_text(SCRIPT.format(**facts) + code)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=bed.folder,
        env={**bed.environment(), "HPCSEARCH_LOCAL": os.fspath(disk(bed))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def disk(bed: Bed) -> Path:
    return bed.folder / "disk"


def on_disk(bed: Bed) -> list[str]:
    """What is in the nodes' own storage."""
    return sorted(path.name for folder in disk(bed).iterdir() for path in folder.iterdir())


def test_a_grid_search_where_it_is_told_to_run(bed: Bed) -> None:
    printed = run(bed, GRID)
    search = Search(bed, Layout(bed.root / "grid-search"), printed)
    records = search.check(8)
    assert {record.state for record in records} == {State.FINISHED}
    assert printed.splitlines()[-1] == "best {'x': 4, 'kind': 'bb'} of 8"
    assert "BEST combination x=4, kind=bb -- metric 6\n" in printed
    places = {record.metadata["copy"] for record in records}
    assert len(places) == len({place.split()[0] for place in places}) == len({record.node for record in records})
    until(lambda: on_disk(bed) == [], f"the copies are gone: {on_disk(bed)}")


def test_a_handle_and_an_allocation_that_is_killed(bed: Bed) -> None:
    """Whatever it leaves on a node goes when the next one comes there."""
    printed = run(bed, HANDLE).splitlines()[-1].split()
    assert printed[:2] == ["begun", "False"]
    search = Search(bed, Layout(bed.root / "launch"), "")
    until((bed.folder / "began-1").exists)
    assert on_disk(bed)
    for process in processes_of(bed.root):
        process.send(signal.SIGKILL)
    if isinstance(bed, ClusterBed):
        until(lambda: bed.job(printed[2])[0] == "ended", "the job has ended")
    else:
        until(lambda: not search.script().alive)
    assert on_disk(bed)
    run(bed, GRID)
    until(lambda: on_disk(bed) == [], f"the copies are gone: {on_disk(bed)}")


RANKS = """
def together():
    import json
    import os
    import time
    from pathlib import Path
    import hpcsearch
    from hpcsearch import util
    world, role = hpcsearch.world(), json.loads(os.environ["TF_CONFIG"])["task"]
    open(f"{role['type']}-{role['index']}-of-{world.size}-on-{len(set(world.hosts))}", "w").close()
    end = time.monotonic() + 60  # servers end with the workers: one that begins late would write nothing
    while role["type"] != "ps" and not list(Path.cwd().glob("ps-0-*")) and time.monotonic() < end:
        time.sleep(0.05)
    return util.num_param_servers()

if __name__ == "__main__":
    del place["nodes"], place["evals_per_node"]
    found = experiment.on(**place, bind=False).parameter_server(together, num_ps=1, ranks=2 * NODES, nodes=NODES)
    print("metric", found.metric)
"""


def test_one_run_of_several_ranks(bed: Bed) -> None:
    nodes = min(2, bed.nodes)
    printed = run(bed, RANKS.replace("NODES", str(nodes)))
    assert printed.splitlines()[-1] == "metric 1.0"
    workers = [f"worker-{index}-of-{2 * nodes}-on-{nodes}" for index in range(2 * nodes - 2)]
    expected = sorted([f"ps-0-of-{2 * nodes}-on-{nodes}", f"chief-0-of-{2 * nodes}-on-{nodes}", *workers])
    assert sorted(path.name for path in bed.folder.glob("*-of-*")) == expected
