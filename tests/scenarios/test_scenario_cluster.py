"""What only a cluster has: nodes that are given back, die, freeze or fail, chains of allocations, bound steps."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from scenario_bed import ClusterBed, Process, Search, processes_of, until
from slurm_bed import SlurmBed

from hpcsearch.evaluation import State

pytestmark = pytest.mark.beds("slurm")

ALL = ("slurm", "slurm-without-accounting", "pbs")

PLAIN = """\
def run(config):
    return config["x"]
"""


# ---- nodes that are given back

#: One evaluation on the first node lasts until it is told to end; the others are short.
LAST = """\
import os, socket, time
from pathlib import Path

def run(config):
    here = Path(__file__).parent
    if socket.gethostname() == "FIRST":
        try:
            os.close(os.open(here / "long", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            end = time.monotonic() + 90
            while not (here / "go").exists() and time.monotonic() < end:
                time.sleep(0.05)
    time.sleep(0.5)
    return config["x"]
"""


def by_node(search: Search, allocation: int = 1) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in search.rows("node", "name") if row["allocation"] == allocation}


@pytest.mark.beds(*ALL, "slurm-mpi")
def test_idle_nodes_go_to_another_users_job(bed: ClusterBed) -> None:
    first, *others = (bed.node(number) for number in range(1, 5))
    search = bed.submit(LAST.replace("FIRST", first), "--max-evals", 24, wait=False)
    search.await_running()
    mark = Path("/var/tmp") / f"hpcsearch-began-{bed.name}-{search.scheduler_ids()[1]}"
    try:
        with bed.others_job(f"date +%s.%N >{mark}; sleep 60", nodes=3) as other:
            assert bed.job(other)[0] == "waits"
            until(lambda: mark.exists() and mark.read_text().endswith("\n"), f"the other's job begins:\n{search.log()}")
            began_at = float(mark.read_text())
    finally:
        mark.unlink(missing_ok=True)
    nodes = by_node(search)
    assert {name: node["state"] for name, node in nodes.items()} == {first: "UP", **dict.fromkeys(others, "RELEASED")}
    moments = {node["held_to_at"] for name, node in nodes.items() if name != first}
    assert len(moments) == 1, "they were not given back together"
    (released_at,) = moments
    assert isinstance(released_at, float) and began_at - released_at < 5
    assert search.counts()[State.RUNNING] == 1
    assert bed.job(search.scheduler_ids()[1]) == ("runs", [first])
    assert {process.node for role in ("agent", "slot") for process in search.processes(role)} == {first}

    (bed.folder / "go").touch()
    assert search.await_exit() == 0
    search.check(24)
    nodes = by_node(search)
    assert nodes[first]["state"] == "DONE"
    for node in nodes.values():
        held_s = node["held_to_at"] - node["held_from_at"]  # type: ignore[operator]
        assert 0 < node["busy_s"] <= held_s  # type: ignore[operator]
    assert "3 given back, 1 done" in search.status()
    (hours,) = re.findall(r"Node-hours +(\S+) held, (\S+) busy .*, (\S+) given back early", search.status())
    held, busy, given_back = map(float, hours)
    assert held > busy > 0 and given_back > 0
    assert search.log().count("given back early") == 1


@pytest.mark.beds("slurm-without-release")
def test_a_cluster_that_takes_no_nodes_back_is_asked_once(bed: SlurmBed) -> None:
    search = bed.submit(LAST.replace("FIRST", bed.node(1)), "--max-evals", 24, wait=False)
    until(lambda: "no more nodes are given back early" in search.log(), "the refusal is told")
    assert "disable_job_shrink" in search.log()
    (bed.folder / "go").touch()
    assert search.await_exit() == 0
    assert {record.state for record in search.check(24)} == {State.FINISHED}
    assert search.log().count("given back early") == 1
    assert {node["state"] for node in by_node(search).values()} == {"DONE"}


# ---- nodes that die

WHERE = """\
import time

def run(config):
    time.sleep(1.0)
    return config["x"]
"""


def running_on(search: Search, node: str) -> set[int]:
    return {record.id for record in search.records() if record.state is State.RUNNING and record.node == node}


@pytest.mark.beds("slurm", "pbs", "pbs-without-mpi")
def test_a_node_that_dies_is_done_without(bed: ClusterBed) -> None:
    third = bed.node(3)
    search = bed.submit(WHERE, "--max-evals", 60, wait=False)
    search.await_ended(12)
    until(lambda: len(running_on(search, third)) == 2)
    with bed.crashed(3):
        assert search.await_exit() == 0
    records = search.check(60)
    assert {record.state for record in records} == {State.FINISHED}
    assert search.exit_status() == 0
    again = {record.id: record for record in records if record.attempts > 1}
    assert 1 <= len(again) <= 2, "not what ran there is run again"
    assert all(record.node != third for record in again.values())
    lost = [row for row in search.rows("attempt", "evaluation") if row["state"] != "FINISHED"]
    assert {(row["state"], row["node"], row["error_kind"]) for row in lost} == {("LOST", third, "NodeLost")}
    assert len(search.rows("allocation", "number")) == 1


def test_the_death_of_the_batch_host_is_survived_by_resume(bed: SlurmBed) -> None:
    search = bed.submit(WHERE, "--max-evals", 60, wait=False)
    search.await_ended(12)
    with bed.crashed(1):
        before = search.recorded()
        assert not search.processes("driver")
        assert "running" in search.status()
        search.cancel()
        resumed = ("resume", search.name, "-n", 3)
        until(lambda: bed.command(*resumed).returncode == 0, "Slurm has given the allocation up")
        assert search.await_exit(2) == 0
    records = search.check(60)
    assert {record.state for record in records} == {State.FINISHED}
    again = {record.id for record in records if record.attempts > 1}
    assert again and again.isdisjoint(before)
    assert {node for record in records if record.id in again for node in [record.node]} <= {"sn2", "sn3", "sn4"}
    recorded = search.recorded()
    assert {identity: recorded[identity] for identity in before} == before
    states = {row["state"] for row in search.rows("attempt", "evaluation") if row["allocation"] == 1}
    assert states == {"FINISHED", "INTERRUPTED"}, "what was under way counts as a failure"


# ---- nodes that fail

FAULTY = """\
import socket, time

def run(config):
    if socket.gethostname() == "sn3":
        raise OSError("no such device")
    time.sleep(0.5)
    return config["x"]
"""


def test_a_node_on_which_everything_fails_is_set_aside(bed: SlurmBed) -> None:
    search = bed.submit(FAULTY, "--max-evals", 60, wait=False)
    assert search.await_exit() == 0
    records = search.check(60)
    failed = [record for record in records if record.state is State.FAILED]
    assert {record.node for record in failed} == {"sn3"}
    node = by_node(search)["sn3"]
    assert node["state"] == "QUARANTINED", len(failed)
    assert node["held_to_at"] < search.rows("allocation", "number")[0]["ended_at"], "it was not given back"  # type: ignore[operator]
    assert len(failed) <= 8, "a bad node has eaten the budget"
    assert "sn3 set aside" in search.status()
    assert search.log().count("takes no more evaluations") == 1


# ---- allocations that follow each other

RELAY = """\
import time
from pathlib import Path

def run(config):
    time.sleep(0.2 if (Path(__file__).parent / "quick").exists() else 4.0)
    return config["x"]
"""


@pytest.mark.beds("slurm", "pbs")
def test_a_chain_goes_on_until_the_budget_is_spent(bed: ClusterBed) -> None:
    minutes, seconds = divmod(bed.short_walltime_s, 60)
    walltime = f"00:{minutes:02}:{seconds:02}"
    search = bed.submit(RELAY, "--max-evals", 120, "--chain", 3, walltime=walltime, wait=False)
    assert [row["number"] for row in search.rows("allocation", "number")] == [1, 2, 3]
    search.await_running(8)
    until(lambda: search.rows("allocation", "number")[0]["state"] == "ENDED", "the walltime ends", limit_s=90)
    (bed.folder / "quick").touch()
    first = search.recorded()
    assert 16 <= len(first) < 120
    assert search.await_exit(2) == 0
    records = search.check(120)
    assert {record.state for record in records} == {State.FINISHED}
    assert Counter(row["allocation"] for row in search.rows("attempt", "evaluation")).keys() == {1, 2}
    assert all(record.attempts == 1 for record in records), "something was cut off"
    assert {identity: search.recorded()[identity] for identity in first} == first
    jobs = search.scheduler_ids()
    until(lambda: bed.job(jobs[3])[0] == "ended", "the one left over is cancelled")
    assert search.exit_status(3) is None, "it was not needed, and has begun"
    assert "done: the budget of evaluations is spent" in search.status()
    ended = search.rows("allocation", "number")[0]["outcome"]
    assert "walltime" in ended


# ---- allocations that are ended

FLEEING = """\
import subprocess, time

def run(config):
    subprocess.Popen(["setsid", "sleep", "987010"])
    time.sleep(90)
"""


@pytest.mark.beds("slurm", "pbs")
def test_nothing_outlives_an_allocation_that_is_cancelled(bed: ClusterBed) -> None:
    search = bed.submit(FLEEING, "--max-evals", 8, wait=False)
    search.await_running(8)
    until(lambda: len(fled(bed)) == 8, "all have fled")
    search.cancel()
    until(lambda: bed.job(search.scheduler_ids()[1])[0] == "ended", "the job ends")
    until(lambda: not fled(bed), "nothing is left", limit_s=5)
    assert search.counts() == {State.INTERRUPTED: 8}


def fled(bed: ClusterBed) -> list[Process]:
    return [process for process in processes_of(bed.folder) if process.argv() == ["sleep", "987010"]]


@pytest.mark.beds("pbs")
def test_a_driver_that_hangs_is_ended_by_the_scheduler_and_the_search_goes_on(bed: ClusterBed) -> None:
    search = bed.submit(RELAY, "--max-evals", 24, walltime="00:00:20", wait=False)
    search.await_running(8)
    search.process("driver").send(signal.SIGSTOP)
    until(lambda: bed.job(search.scheduler_ids()[1])[0] == "ended", "the job ends")
    until(lambda: not processes_of(bed.folder), "nothing is left", limit_s=5)
    assert "Its walltime was over." in search.status()
    before = search.recorded()
    (bed.folder / "quick").touch()
    search.resume()
    assert {record.state for record in search.check(24)} == {State.FINISHED}
    assert {identity: search.recorded()[identity] for identity in before} == before


# ---- refusals


def check_refused(bed: ClusterBed, option: str, words: str) -> None:
    search = bed.submit(PLAIN, option, "nope", wait=False, status=6)
    assert words in search.output
    assert not search.layout.root.exists() and not list(bed.root.glob("*"))
    assert not processes_of(bed.folder)
    assert not bed.end_allocations()


@pytest.mark.beds("slurm", "slurm-alice", "pbs")
def test_what_the_scheduler_refuses_leaves_nothing_behind(bed: ClusterBed) -> None:
    check_refused(bed, "-q", bed.no_such_queue)


@pytest.mark.beds("slurm", "slurm-alice")
def test_an_account_that_slurm_does_not_know_leaves_nothing_behind(bed: SlurmBed) -> None:
    check_refused(bed, "-A", "nvalid account")


# ---- bound steps

BOUND = """\
import os, time
from pathlib import Path
import hpcsearch

def run(config):
    from mpi4py import MPI
    begun = Path(__file__).parent / "begun"
    begun.mkdir(exist_ok=True)
    (begun / str(hpcsearch.evaluation().id)).touch()
    end = time.monotonic() + 50
    while len(list(begun.iterdir())) < 8:
        if time.monotonic() > end:
            raise TimeoutError("not all slots are used")
        time.sleep(0.02)
    size = MPI.COMM_WORLD.allreduce(1)
    return {"objective": config["x"], "size": size, "cores": sorted(os.sched_getaffinity(0))}
"""


@pytest.mark.beds("slurm-bound")
def test_slots_share_out_all_cores_of_bound_steps(bed: SlurmBed) -> None:
    search = bed.submit(BOUND, "--max-evals", 16, wait=False)
    assert search.await_exit() == 0, search.log()
    cores: dict[str, dict[int, set[int]]] = {}
    for record in search.check(16):
        assert record.state is State.FINISHED, record.failure
        assert record.metadata["size"] == 1
        assert record.node is not None and record.slot is not None
        cores.setdefault(record.node, {})[record.slot] = set(record.metadata["cores"])
    assert len(cores) == 4
    for first, second in (slots.values() for slots in cores.values()):
        assert first.isdisjoint(second) and len(first | second) == bed.cores
    assert {node["cores"] for node in by_node(search).values()} == {bed.cores}
