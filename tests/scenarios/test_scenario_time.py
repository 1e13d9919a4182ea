"""The end of an allocation: its walltime, cancelling, signals; and going on afterwards."""

from __future__ import annotations

import signal

import pytest
from scenario_bed import Bed, Search, until

from hpcsearch.evaluation import State

LONG = """\
import time

def run(config):
    time.sleep(2.5)
    return config["x"]
"""

PATIENT = """\
import time
from pathlib import Path

def run(config):
    end = time.monotonic() + 50
    while not (Path(__file__).parent / "go").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return config["x"]
"""

CHECKPOINTED = """\
import time
import hpcsearch

def run(config):
    here = hpcsearch.evaluation()
    checkpoint = here.directory / "steps"
    done = len(checkpoint.read_text().splitlines()) if checkpoint.exists() else 0
    steps = done + 10 if done else 10_000  # the first attempt is never done in time
    for step in range(done, steps):
        time.sleep(0.1)
        with checkpoint.open("a") as file:
            file.write(f"{here.attempt}\\n")
    return {"objective": config["x"], "began_at": done}
"""


@pytest.mark.beds("local", "local-mpi")
def test_a_search_drains_before_its_walltime_ends(bed: Bed) -> None:
    walltime_s = bed.short_walltime_s
    evaluations = 20 * bed.nodes  # more than the walltime has room for, wherever
    search = bed.submit(LONG, "--max-evals", evaluations, walltime=f"00:00:{walltime_s}")
    assert search.exit_status() == 0
    (allocation,) = search.rows("allocation", "number")
    assert allocation["ended_at"] < allocation["deadline_at"]
    counts = search.counts()
    finished = counts[State.FINISHED]
    assert 4 * bed.nodes <= finished < evaluations, "the walltime had room for more"
    assert counts.keys() == {State.FINISHED, State.PROPOSED}  # nothing was begun that had to be interrupted
    assert "no evaluation can finish in the walltime that is left" in search.status()
    assert "The search is not done" in search.output
    search.check_events()
    before = search.recorded()

    (bed.folder / "run_poly.py").write_text(LONG.replace("2.5", "0.02"))
    search.resume("-t", 10)
    search.check(evaluations)
    assert {identity: search.recorded()[identity] for identity in before} == before


@pytest.mark.beds("local", "slurm")
def test_a_search_that_is_stopped_lets_what_runs_end(bed: Bed) -> None:
    search = bed.submit(PATIENT, "--max-evals", 20 * bed.nodes, wait=False)
    search.await_running(bed.nodes)
    done = bed.command("stop", search.name)
    assert done.returncode == 0 and "starts nothing more, and ends when what runs has ended." in done.stdout
    assert "to start nothing more" in search.status()
    until(lambda: "nothing is started any more" in search.log(), "the driver hears that it is to stop")
    (bed.folder / "go").touch()
    assert search.await_exit() == 0
    counts = search.counts()
    finished = counts[State.FINISHED]
    assert bed.nodes <= finished < 20 * bed.nodes
    assert counts == {State.FINISHED: finished, State.PROPOSED: counts[State.PROPOSED]}, "nothing was cut off"
    assert "it was told to start nothing more" in search.status()
    search.check_events()
    search.resume("-t", 10)
    search.check(20 * bed.nodes)


@pytest.mark.beds("local", "local-mpi")
def test_a_resumable_evaluation_goes_on_from_its_checkpoint(bed: Bed) -> None:
    search = bed.submit(CHECKPOINTED, "--max-evals", 2, "--resumable", walltime=f"00:00:{bed.short_walltime_s}")
    assert search.exit_status() == 0
    assert search.counts() == {State.INTERRUPTED: 2}
    assert not search.lines()
    steps = {
        record.id: (search.layout.evaluation(record.id) / "steps").read_text().split() for record in search.records()
    }
    assert all(len(lines) > 5 and set(lines) == {"1"} for lines in steps.values())
    search.resume("-t", 10)
    for record in search.check(2):
        assert record.state is State.FINISHED and record.attempts == 2
        assert record.metadata["began_at"] == len(steps[record.id])
    assert {row["failures"] for row in search.rows("evaluation")} == {0}
    attempts = [(row["evaluation"], row["number"], row["state"]) for row in search.rows("attempt", "evaluation")]
    assert sorted(attempts) == [
        (1, 1, "INTERRUPTED"),
        (1, 2, "FINISHED"),
        (2, 1, "INTERRUPTED"),
        (2, 2, "FINISHED"),
    ]


def go(bed: Bed) -> None:
    (bed.folder / "go").touch()


def finish(search: Search, total: int, before: dict[int, dict[str, object]]) -> None:
    """Resumes a search of PATIENT, which then runs to its end, and checks all of it."""
    go(search.bed)
    search.resume()
    assert {record.state for record in search.check(total)} == {State.FINISHED}
    assert {identity: search.recorded()[identity] for identity in before} == before


def check_interrupted(search: Search) -> dict[int, dict[str, object]]:
    """What runs was INTERRUPTED, and nothing failed; gives what is recorded."""
    counts = search.counts()
    assert counts[State.INTERRUPTED] == 2 * search.bed.nodes, counts
    assert counts.keys() <= {State.FINISHED, State.INTERRUPTED, State.PROPOSED}
    search.check_events()
    return search.recorded()


@pytest.mark.beds("local", "slurm", "pbs", "local-mpi", "slurm-mpi")
def test_cancel_interrupts_and_resume_goes_on(bed: Bed) -> None:
    search = bed.submit(PATIENT, "--max-evals", 8, wait=False)
    search.await_running(2 * bed.nodes)
    assert "is told to end" in search.cancel()
    search.await_exit()
    before = check_interrupted(search)
    assert "told to end" in search.status()
    assert "Nothing works on" in search.cancel()
    finish(search, 8, before)


@pytest.mark.beds("local", "local-mpi")
def test_sigterm_interrupts_what_runs(bed: Bed) -> None:
    search = bed.submit(PATIENT, "--max-evals", 8, wait=False)
    search.await_running(2 * bed.nodes)
    search.script().send(signal.SIGTERM)
    assert search.await_exit() == 0
    finish(search, 8, check_interrupted(search))


def test_sigusr1_lets_running_evaluations_finish(bed: Bed) -> None:
    search = bed.submit(PATIENT, "--max-evals", 8, wait=False)
    search.await_running(2 * bed.nodes)
    search.script().send(signal.SIGUSR1)
    until(lambda: "nothing is started any more" in search.log())
    go(bed)
    assert search.await_exit() == 0
    counts = search.counts()
    assert counts == {State.FINISHED: 2 * bed.nodes, State.PROPOSED: len(search.records()) - 2 * bed.nodes}
    before = search.recorded()
    finish(search, 8, before)
