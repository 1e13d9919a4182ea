"""Early stopping: evaluations that a rule ends, whether they listen or not, and the end of time told in time."""

from __future__ import annotations

import pytest
from scenario_bed import Bed, until

import hpcsearch
from hpcsearch.evaluation import State
from hpcsearch.workflow.workflow import Record

#: Evaluations that come to ``n``, and are there from their first step on.
PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter(list(range(1, 41)), "n")
for n in {starts}:
    Problem.add_starting_point(n=n)
"""

TOLD = """\
import time
import hpcsearch

def run(config):
    try:
        for step in range(1, 28):
            time.sleep(0.05)
            try:
                hpcsearch.report(step, score=float(config["n"]), loss=1.0 / step)
            except Exception:
                print("swallowed")
    finally:
        print("cleaned up")
    return config["n"]
"""

ASKING = """\
import time
import hpcsearch

def run(config):
    for step in range(1, 28):
        time.sleep(0.05)
        hpcsearch.report(step, float_loss=1.0, objective=-1.0 * config["n"])
        if hpcsearch.should_stop():
            break
    return {"objective": config["n"] * step / 27, "steps": step}
"""

DEAF = """\
import time
import hpcsearch

def run(config):
    for step in range(1, 28):
        try:
            hpcsearch.report(step, score=config["n"])
        except BaseException:
            print("does not listen")
            time.sleep(600)
        time.sleep(0.05)
    return config["n"]
"""

SAVING = """\
import time
import hpcsearch

def run(config):
    here = hpcsearch.evaluation()
    checkpoint = here.directory / "step"
    began = int(checkpoint.read_text()) if checkpoint.exists() else 0
    steps = began + 10 if began else 10_000  # the first attempt is never done in time
    for step in range(began + 1, steps):
        time.sleep(0.1)
        if hpcsearch.should_stop():
            checkpoint.write_text(str(step))
            raise hpcsearch.Stopped
    return {"objective": 1.0, "began": began}
"""


def problem(starts: list[int]) -> str:
    return PROBLEM.format(starts=starts)


def stopped(records: list[Record]) -> list[Record]:
    """Those that the rule has stopped."""
    found = [record for record in records if record.state is State.STOPPED]
    for record in found:
        assert record.failure is not None and record.failure.kind == "Stopped"
        assert "stopped by asha" in record.failure.message
        assert record.reports and record.ended_at is not None
    return found


@pytest.mark.beds("local", "slurm", "local-mpi")
def test_evaluations_that_are_behind_are_stopped_by_their_reports(bed: Bed) -> None:
    rule = ["--stopper", "asha", "--stopper-arg", "eta=3", "--stopper-metric", "score:max"]
    search = bed.submit(TOLD, "--max-evals", 24, "--search", "random", *rule, problem=problem([]))
    records = search.check(24)
    ended = stopped(records)
    assert len(ended) >= 8, search.counts()
    assert max(records, key=lambda record: record.config["n"]).state is State.FINISHED
    for record in records:
        assert record.objective == record.config["n"], "its last value is kept"
        assert search.printed(record.id) == b"cleaned up\n"
    assert hpcsearch.open_workflow(search.layout.root).best()[0].state is State.FINISHED
    assert "STOPPED" in search.status()
    assert {line["state"] for line in search.lines()} == {"FINISHED", "STOPPED"}


RANKS = """\
import time
import hpcsearch

def run(config):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    for step in range(1, 28):
        time.sleep(0.05)
        hpcsearch.report(step, score=config["n"])
        if comm.bcast(hpcsearch.should_stop()):
            break
    steps = comm.gather(step)
    return {"objective": config["n"], "steps": steps}
"""


@pytest.mark.beds("local-mpi")
def test_ranks_stop_at_the_same_step(bed: Bed) -> None:
    rule = ["--stopper", "asha", "--stopper-arg", "eta=2", "--stopping", "ask"]
    options = ["--ranks-per-node", 2, "--max-evals", 6, *rule]
    search = bed.submit(RANKS, *options, problem=problem([6, 5, 4, 3, 2, 1]), slots=1)
    records = search.check(6)
    assert len(stopped(records)) >= 3, search.counts()
    for record in records:
        first, second = record.metadata["steps"]
        assert first == second and (first < 27) == (record.state is State.STOPPED)


def test_evaluations_that_ask_return_what_they_have(bed: Bed) -> None:
    rule = ["--stopper", "asha", "--stopping", "ask", "--stopper-metric", "objective:min"]
    search = bed.submit(ASKING, "--max-evals", 16, "--search", "random", *rule, problem=problem([]))
    ended = stopped(search.check(16))
    assert len(ended) >= 4, search.counts()
    for record in ended:
        steps = record.metadata["steps"]
        assert steps < 27 and record.objective == pytest.approx(record.config["n"] * steps / 27)


def test_one_that_does_not_listen_is_killed_and_stopped_all_the_same(bed: Bed) -> None:
    rule = ["--stopper", "asha", "--stopper-arg", "eta=2", "--stop-grace", "0.1"]
    search = bed.submit(DEAF, "--max-evals", 6, *rule, problem=problem([6, 5, 4, 3, 2, 1]))
    records = search.check(6)
    ended = stopped(records)
    assert len(ended) >= 3, search.counts()
    assert all(record.objective == record.config["n"] and record.attempts == 1 for record in ended)
    assert all("its process was ended" in record.failure.message for record in ended if record.failure)


def test_a_rule_knows_after_a_restart_what_was_reported_before(bed: Bed) -> None:
    rule = ["--stopper", "asha", "--stopper-arg", "eta=3"]
    starts = [30, 31, 32, 5, 6]
    search = bed.submit(DEAF.replace("600", "0"), "--max-evals", 3, *rule, problem=problem(starts))
    assert [record.state for record in search.check(3)] == [State.FINISHED] * 3
    search.resume("--max-evals", 5, "--stop-grace", "0.1")
    records = search.check(5)
    # A rule that knew of no others would let both go on: fewer than three have reached any rung by then.
    assert [record.config["n"] for record in stopped(records)] == [5, 6]


def test_the_end_of_time_is_told_and_the_evaluation_goes_on_later(bed: Bed) -> None:
    options = ["--max-evals", 2, "--resumable", "--stop-margin", "2"]
    search = bed.submit(SAVING, *options, walltime=f"00:00:{bed.short_walltime_s}")
    assert search.counts() == {State.INTERRUPTED: 2}
    assert "walltime is at its end" in search.status()
    steps = {record.id: int((search.layout.evaluation(record.id) / "step").read_text()) for record in search.records()}
    search.resume("-t", 10)
    for record in search.check(2):
        assert record.state is State.FINISHED and record.attempts == 2
        assert record.metadata["began"] == steps[record.id] > 5


def test_the_time_limit_is_told_before_it_is_reached(bed: Bed) -> None:
    run = (
        "import hpcsearch, time\n\ndef run(config):\n    while not hpcsearch.should_stop():\n        time.sleep(0.01)\n"
    )
    saving = f"{run}    return 0.5\n"
    search = bed.submit(saving, "--max-evals", 1, "--eval-timeout", "30", "--stop-margin", "29")
    assert search.check(1)[0].state is State.FINISHED


def test_cancelling_gives_evaluations_a_moment_to_save(bed: Bed) -> None:
    search = bed.submit(SAVING, "--max-evals", 2, "--resumable", wait=False)
    until(lambda: search.counts().get(State.RUNNING) == 2)
    search.cancel()
    until(lambda: search.exit_status() is not None)
    assert search.counts() == {State.INTERRUPTED: 2}
    assert all((search.layout.evaluation(record.id) / "step").exists() for record in search.records())


def test_a_run_function_may_stop_itself(bed: Bed) -> None:
    run = """\
import hpcsearch

def run(config):
    hpcsearch.report(1, score=config["n"])
    raise hpcsearch.Stopped("there is no point")
"""
    search = bed.submit(run, "--max-evals", 3, problem=problem([1, 2, 3]), status=1)
    for record in search.check(3):
        assert record.state is State.STOPPED and record.objective == record.config["n"]
        assert record.failure is not None and "stopped itself: there is no point" in record.failure.message
