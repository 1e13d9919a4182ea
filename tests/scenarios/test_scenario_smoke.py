"""``--smoke``: one evaluation has to succeed before any other begins, and nothing else is spent when it does not."""

from __future__ import annotations

import json

import pytest
from scenario_bed import Bed, Search, said

from hpcsearch.evaluation import State
from hpcsearch.workflow.database import writer

FAILS = """\
def run(config):
    print("about to fail")
    raise ValueError("no such\\ndata set")
"""

#: Tells whether it was alone: the first one leaves a file when it ends, and takes its time.
FIRST_ALONE = """\
import time
from pathlib import Path
import hpcsearch

def run(config):
    here = Path(__file__).parent
    if hpcsearch.evaluation().id == 1:
        time.sleep(0.7)
        (here / "over").touch()
    return float((here / "over").exists())
"""

SLOW = """\
import subprocess, time
def run(config):
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("run", "options", "expected"),
    [
        (FAILS, [], ["  about to fail", "ValueError: no such data set. Nothing was submitted."]),
        (SLOW, ["--eval-timeout", 1], ["it took longer than 0:00:01. Nothing was submitted."]),
        ("import os\ndef run(config): os._exit(3)\n", [], ["it ended the process with exit code 3."]),
        ("def run(config): return 'a'\n", [], ["the objective is 'a' (str), not one number. Nothing was submitted."]),
    ],
)
def test_on_the_spot_a_failure_is_shown_and_leaves_nothing(
    bed: Bed, run: str, options: list[object], expected: list[str]
) -> None:
    search = bed.submit(run, "--smoke", *options, wait=False, status=10)
    assert not [text for text in expected if text not in search.output], search.output
    assert "Running one configuration first (--smoke)...failed" in search.output
    assert not search.layout.root.exists()
    assert "no workflows" in bed.command("ls").stdout.lower()


def test_on_the_spot_a_success_submits(bed: Bed) -> None:
    search = bed.submit("def run(config): return config['x']\n", "--smoke", "--max-evals", 5)
    records = search.check(5)
    assert "Running one configuration first (--smoke)...OK\nIt gave 5 for {'n': 500, 'x': 5.0}." in search.output
    assert records[0].config == {"n": 500, "x": 5.0}


@pytest.mark.beds("slurm")
def test_elsewhere_a_failure_ends_the_allocation(bed: Bed) -> None:
    """The same as below, from the submission on, with allocations that would follow."""
    search = bed.submit(FAILS, "--smoke", "--max-evals", 30, "--chain", 2, status=9)
    assert search.exit_status() == 10
    failed_smoke(search, 1)
    (bed.folder / "run_poly.py").write_text("def run(config): return config['x']\n")
    search.resume()
    search.check(30)


def failed_smoke(search: Search, allocation: int) -> None:
    """The one evaluation failed, waits to be run again, and everybody is told why."""
    counts = search.counts()
    assert counts.keys() == {State.PROPOSED}
    tried = [row for row in search.rows("attempt", "evaluation") if row["allocation"] == allocation]
    assert [(row["evaluation"], row["state"]) for row in tried] == [(1, State.FAILED)]
    status = search.status()
    assert "the smoke test failed: evaluation 1 failed (ValueError: data set)" in status
    assert f"type 'hpcsearch resume {search.name}'" in status
    assert b"about to fail" in search.printed(1)
    search.check_events()


@pytest.mark.beds("local", "local-mpi")
def test_in_an_allocation_a_failure_ends_it_and_a_mended_function_goes_on(bed: Bed) -> None:
    search = submitted_elsewhere(bed, FAILS, 12)
    said_by = bed.command("resume", search.name, "--wait")
    assert said_by.returncode == 9 and "exit code 10" in said_by.stderr, said(said_by)
    assert search.exit_status(2) == 10
    failed_smoke(search, 2)
    (bed.folder / "run_poly.py").write_text(FIRST_ALONE)
    search.resume()
    records = search.check(12)
    assert {record.allocation for record in records} == {3}
    assert [record.objective for record in records] == [1.0] * 12  # all the others began when the first was over


def submitted_elsewhere(bed: Bed, run: str, max_evals: int) -> Search:
    """A search whose next allocation has the smoke test to do, as one that was submitted to a batch system has."""
    search = bed.submit(SLOW, "--max-evals", max_evals, wait=False)
    search.cancel()
    search.await_exit()
    engine = writer(search.layout.database)
    with engine.begin() as connection:
        settings = json.loads(connection.exec_driver_sql("SELECT settings FROM workflow").scalar_one())
        text = json.dumps({**settings, "smoke": True})
        connection.exec_driver_sql("UPDATE workflow SET settings = ?", (text,))
    engine.dispose()
    (bed.folder / "run_poly.py").write_text(run)
    return search
