"""A search from submission to its end: exact budget, order, spaces that end, resuming."""

from __future__ import annotations

import itertools
import json

import pytest
from scenario_bed import Bed, said

from hpcsearch.evaluation import State
from hpcsearch.workflow.workflow import Record

PLAIN = """\
def run(config):
    return config["x"] + config["n"]
"""

#: The first evaluations wait for each other: there are as many as slots, and none of these may stay idle.
SHORT = """\
import time
from pathlib import Path
import hpcsearch

def run(config):
    begun = Path(__file__).parent / "begun"
    begun.mkdir(exist_ok=True)
    (begun / str(hpcsearch.evaluation().id)).touch()
    end = time.monotonic() + 50
    while len(list(begun.iterdir())) < SLOTS:
        if time.monotonic() > end:
            raise TimeoutError("not all slots are used")
        time.sleep(0.02)
    time.sleep(0.02 * PACE)
    return config["x"] + config["n"]
"""

FINITE = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter(["a", "b", "c"], "letter")
Problem.add_hyperparameter([10, 20], "size")
"""

LETTERS = """\
def run(config):
    return config["size"] + len(config["letter"])
"""


@pytest.mark.beds("local", "slurm", "slurm-alice", "pbs", "pbs-service-node", "pbs-without-mpi", "local-mpi", "pbs-mpi")
def test_the_budget_is_spent_exactly_and_everything_is_recorded(bed: Bed) -> None:
    search = bed.submit(SHORT.replace("SLOTS", str(2 * bed.nodes)), "--max-evals", 40)
    records = search.check(40)
    assert all(record.state is State.FINISHED for record in records)
    assert all(record.objective == record.config["x"] + record.config["n"] for record in records)
    assert len({(record.node, record.slot) for record in records}) == 2 * bed.nodes
    assert search.exit_status() == 0
    (workflow,), (allocation,) = search.rows("workflow"), search.rows("allocation", "number")
    assert workflow["outcome"] == allocation["outcome"] == "the budget of evaluations is spent"
    assert workflow["finished_at"] is not None
    assert {node["state"] for node in search.rows("node", "name")} == {"DONE"}

    status = search.status()
    assert "done: the budget of evaluations is spent" in status
    assert "40 ended; budget: 40" in status
    best = sorted(records, key=lambda record: record.objective or 0.0, reverse=True)[:3]
    shown = bed.command("results", search.name, "--top", 3, "--format", "json")
    assert shown.returncode == 0, said(shown)
    assert [entry["id"] for entry in json.loads(shown.stdout)] == [record.id for record in best]
    table = bed.command("results", search.name, "--top", 3).stdout
    assert [line.split()[0] for line in table.splitlines()[1:4]] == [str(record.id) for record in best]
    assert "The best 3 of 40 finished evaluations." in table


def test_a_larger_budget_goes_on_from_where_it_was(bed: Bed) -> None:
    search = bed.submit(PLAIN, "--max-evals", 12, "--search", "random")
    search.check(12)
    before = search.recorded()
    assert "is done" in search.resume(status=2)
    search.resume("--max-evals", 20)
    search.check(20)
    assert {identity: row for identity, row in search.recorded().items() if identity in before} == before
    assert [row["number"] for row in search.rows("allocation", "number")] == [1, 2]


@pytest.mark.parametrize("strategy", ["ambs", "random"])
def test_an_exhausted_space_ends_the_search(bed: Bed, strategy: str) -> None:
    search = bed.submit(LETTERS, "--max-evals", 4, "--search", strategy, problem=FINITE)
    search.check(4)
    search.resume("--max-evals", 50)
    records = search.check(6)
    assert {(record.config["letter"], record.config["size"]) for record in records} == set(
        itertools.product("abc", (10, 20))
    )
    assert "every configuration of the search space has been evaluated" in search.status()
    assert search.exit_status(2) == 0


def test_a_seed_repeats_a_search_with_one_slot(bed: Bed) -> None:
    bed.nodes = 1
    found = {}
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        search = bed.submit(PLAIN, "--max-evals", 25, "--seed", seed, "--search", "ambs", name=name, slots=1)
        found[name] = [record.config for record in search.check(25)]
    assert found["first"] == found["again"]
    assert not [config for config in found["other"] if config in found["first"]]


WHILE_OTHERS_RUN = """\
import os, time
from pathlib import Path
import hpcsearch

TOTAL = 600

def run(config):
    here = Path(__file__).parent
    if hpcsearch.evaluation().id >= 150:
        try:
            os.close(os.open(here / "long", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            end = time.monotonic() + 40
            while (here / "done").stat().st_size < TOTAL - 1:
                if time.monotonic() > end:
                    raise TimeoutError("the others have not run")
                time.sleep(0.01)
            return 0.0
    time.sleep(0.001)
    with open(here / "done", "ab") as file:
        file.write(b".")
    return 1.0
"""


def test_nothing_waits_behind_a_long_evaluation(bed: Bed) -> None:
    search = bed.submit(WHILE_OTHERS_RUN, "--max-evals", 600, "--search", "random")
    records = search.check(600)
    assert {record.failure for record in records} == {None}
    assert (bed.folder / "long").exists()


HALF_FAIL = """\
import time
def run(config):
    time.sleep(0.02 * PACE)
    if config["n"] % 2:
        raise ValueError("odd")
    return config["x"]
"""


def succeeded(records: list[Record]) -> int:
    return sum(record.state is State.FINISHED for record in records)


@pytest.mark.beds("local", "slurm")
def test_a_search_ends_after_so_many_successes_and_not_one_more(bed: Bed) -> None:
    search = bed.submit(HALF_FAIL, "--max-success", 15, "--search", "random", "--seed", 3, "--no-bind", slots=4)
    records = search.check(len(search.records()))
    assert succeeded(records) == 15 < len(records)
    assert "done: 15 evaluations have succeeded" in search.status()
    assert "budget: no limit, or until 15 have succeeded" in search.status()
    assert search.exit_status() == 0
    # Again, with more wanted; and with both limits, of which the other one comes first.
    search.resume("--max-success", 25)
    records = search.check(len(search.records()))
    assert succeeded(records) == 25
    assert "give it more with --max-success" in search.resume("--max-success", 25, status=2)
    search.resume("--max-success", 900, "--max-evals", len(records) + 6)
    assert succeeded(search.check(len(records) + 6)) < 900
    assert "the budget of evaluations is spent" in search.status()


def test_a_driver_that_is_killed_counts_successes_from_the_database(bed: Bed) -> None:
    search = bed.submit(HALF_FAIL, "--max-success", 40, "--search", "random", wait=False)
    search.await_ended(12)
    bed.processes(search, "driver")[0].kill()
    assert search.await_exit() == 0
    assert succeeded(search.check(len(search.records()))) == 40


FAILS_TWICE = """\
import hpcsearch

def run(config):
    if hpcsearch.evaluation().attempt < 3:
        raise ValueError("not yet")
    return config["x"]
"""


def test_an_evaluation_that_fails_is_tried_again_where_that_was_asked_for(bed: Bed) -> None:
    search = bed.submit(FAILS_TWICE, "--max-evals", 6, "--retry-failed", "--max-attempts", 2, status=1)
    assert {(record.state, record.attempts) for record in search.check(6)} == {(State.FAILED, 2)}
    search.resume("--max-evals", 12, "--max-attempts", 3)
    records = search.check(12)
    assert {(record.state, record.attempts) for record in records[6:]} == {(State.FINISHED, 3)}
    search.resume("--max-evals", 14, "--no-retry-failed")
    assert {(record.state, record.attempts) for record in search.check(14)[12:]} == {(State.FAILED, 1)}


def test_a_grid_is_evaluated_once_over_several_allocations(bed: Bed) -> None:
    grid = ["--search", "grid", "--search-arg", "points=6"]
    search = bed.submit(PLAIN, "--max-evals", 10, *grid)
    assert "The grid has 36 configurations. The first 10 of them are evaluated (--max-evals)." in search.output
    first = [record.config for record in search.check(10)]
    search.resume("--max-evals", 100)
    records = search.check(36)
    assert [record.config for record in records[:10]] == first
    points = itertools.product([1, 201, 401, 600, 800, 1000], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    assert {(record.config["n"], record.config["x"]) for record in records} == set(points)
    assert "every configuration of the grid has been evaluated" in search.status()


def test_a_large_grid_wants_to_be_confirmed(bed: Bed) -> None:
    grid = ["--search", "grid", "--search-arg", "points_of=x:2000,n:1000000"]
    search = bed.submit(PLAIN, *grid, status=2)
    assert "The grid would evaluate 2,000,000 configurations, and that was not confirmed." in search.output
    assert "Type --yes" in search.output and not search.layout.root.exists()
    search = bed.submit(PLAIN, *grid, "--yes", "--max-success", 5)
    assert succeeded(search.check(5)) == 5
