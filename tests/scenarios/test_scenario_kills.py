"""Processes that are killed or stopped in the middle of a search: nothing recorded is lost, doubled or changed."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from scenario_bed import Bed, Process, Search, processes_of, until

from hpcsearch.evaluation import State

SHORT = """\
import time

def run(config):
    time.sleep(0.05 * PACE)
    return config["x"] + config["n"]
"""

TOTAL = 60

#: More than can end before the moment comes that a test waits for.
ENDLESS = 40_000


def kill(search: Search, *roles: str, one: bool = False) -> dict[int, object]:
    """Kills all processes of these roles (or one); gives what was recorded before."""
    for role in roles:
        search.process(role)  # it may have been started again a moment ago
    before = search.recorded()
    victims = [process for role in roles for process in search.processes(role)][: 1 if one else None]
    for victim in victims:
        victim.kill()
    until(lambda: not any(victim.alive for victim in victims), "the killed ones are dead")
    return dict(before)


def check_kept(search: Search, before: dict[int, object]) -> None:
    after = search.recorded()
    assert {identity: after.get(identity) for identity in before} == before


def check_objectives(search: Search, total: int = TOTAL) -> int:
    """Checks a whole search of SHORT; gives how many evaluations failed."""
    records = search.check(total)
    for record in records:
        if record.state is State.FINISHED:
            assert record.objective == record.config["x"] + record.config["n"]
        else:
            assert record.state is State.FAILED and record.failure is not None
            assert record.failure.kind == "SIGKILL", record.failure
    return sum(record.state is State.FAILED for record in records)


@pytest.mark.beds("local", "slurm", "pbs", "local-mpi")
def test_a_driver_that_dies_again_and_again_is_started_again(bed: Bed) -> None:
    search = bed.submit(SHORT, "--max-evals", TOTAL, wait=False)
    for count in (5, 20, 40):
        search.await_ended(count)
        before = kill(search, "driver")
        until(lambda: search.processes("driver"), "the driver is back")
        check_kept(search, before)
    assert search.await_exit() == 0
    assert check_objectives(search) == 0
    check_kept(search, before)
    assert (search.layout.allocation(1) / "stderr").read_text().count("starting it again") == 3


def test_a_driver_that_dies_too_often_is_given_up(bed: Bed) -> None:
    search = bed.submit(SHORT, "--max-evals", TOTAL, wait=False)
    for count in (2, 4, 6, 8):
        search.await_ended(count)
        kill(search, "driver")
    assert search.await_exit() == 128 + signal.SIGKILL
    assert "given up after 3 restarts" in (search.layout.allocation(1) / "stderr").read_text()
    assert "died" in search.status()
    search.resume()
    assert check_objectives(search) == 0


def check_survives(search: Search, role: str) -> None:
    """A process of this role dies twice, and nothing is lost."""
    before: dict[int, object] = {}
    for count in (15, 35):
        search.await_ended(count)
        before |= kill(search, role)
    assert search.await_exit() == 0, search.log()
    assert check_objectives(search) == 0
    check_kept(search, before)


@pytest.mark.parametrize("role", ["recorder", "search"])
def test_a_process_beside_the_driver_dies(bed: Bed, role: str) -> None:
    check_survives(bed.submit(SHORT, "--max-evals", TOTAL, wait=False), role)


@pytest.mark.beds("local", "slurm", "pbs")
def test_all_agents_die(bed: Bed) -> None:
    check_survives(bed.submit(SHORT, "--max-evals", TOTAL, wait=False), "agent")


@pytest.mark.beds("local", "slurm")
def test_a_slot_dies_with_its_evaluation_and_is_replaced(bed: Bed) -> None:
    search = bed.submit(SHORT, "--max-evals", TOTAL, wait=False)
    search.await_ended(15)
    before = kill(search, "slot", one=True)
    assert search.await_exit() == 0
    assert check_objectives(search) <= 1
    check_kept(search, before)
    last = {(record.node, record.slot) for record in search.records()[-20:]}
    assert len(last) == 2 * bed.nodes, "the slot was not replaced"


#: The last one takes so long that nodes have gone by then.
TAIL = """\
import time
import hpcsearch

def run(config):
    time.sleep(12.0 if hpcsearch.evaluation().id == 40 else 0.2)
    return config["x"]
"""


@pytest.mark.beds("slurm")
def test_nodes_that_were_given_back_are_not_the_next_drivers(bed: Bed) -> None:
    search = bed.submit(TAIL, "--max-evals", 40, wait=False)
    until(lambda: "given back early" in search.log(), "nodes are given back")
    kill(search, "driver")
    assert search.await_exit() == 0
    search.check(40)
    assert sorted(str(row["state"]) for row in search.rows("node", "name")) == ["DONE", *["RELEASED"] * 3]
    assert "its agent ended" not in search.log()


@pytest.mark.beds("local", "slurm")
def test_driver_agents_and_slots_die_at_once(bed: Bed) -> None:
    search = bed.submit(SHORT, "--max-evals", TOTAL, wait=False)
    search.await_ended(20)
    before = kill(search, "driver", "agent", "slot")
    assert search.await_exit() == 0
    assert check_objectives(search) == 0
    check_kept(search, before)


def stop_recorder(search: Search, wanted: Callable[[], bool], *, committing: bool) -> Process:
    """Stops the recorder at a chosen moment: while it commits or just after, and ``wanted`` is true of its files."""
    recorder = search.process("recorder")
    journal = search.layout.database.with_name("workflow.db-journal")

    def stop() -> bool:
        end_s = time.monotonic() + 10
        for there in (True, True) if committing else (True, False):
            while journal.exists() is not there and time.monotonic() < end_s:
                pass  # the moment is short
        recorder.send(signal.SIGSTOP)
        until(lambda: recorder.stopped)
        if journal.exists() is committing and wanted():
            return True
        recorder.send(signal.SIGCONT)
        return False

    until(stop, "the recorder is stopped at the moment")
    return recorder


def stop_and_kill(search: Search) -> None:
    """Ends everything of an allocation at one instant, its job script too: none can answer another's death."""
    roles = ("driver", "recorder", "search", "desk", "agent", "slot", "rank")
    victims = [search.script(), *(process for role in roles for process in search.processes(role))]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in victims:
            victim.send(number)
    until(lambda: not any(victim.alive for victim in victims), "everything is dead")


@pytest.mark.parametrize("committing", [False, True], ids=["any-time", "in-a-commit"])
@pytest.mark.beds("local", "local-mpi")
def test_a_whole_allocation_dies_and_is_resumed(bed: Bed, committing: bool) -> None:
    search = bed.submit(SHORT, "--max-evals", TOTAL, wait=False)
    search.await_ended(20)
    if committing:
        stop_recorder(search, lambda: True, committing=True)
    stop_and_kill(search)
    until(lambda: not processes_of(bed.folder), "what a launcher has started ends with it")
    before = search.recorded()
    status = search.status()
    assert "died" in status and "Its driver ended without recording it." in status
    assert f"{len(before)} ended; budget: {TOTAL}" in status
    search.resume()
    assert check_objectives(search) == 0
    check_kept(search, dict(before))
    assert {row["attempt"] for row in search.rows("evaluation")} <= {1, 2}


def stop_outside_a_write(search: Search, processes: list[Process]) -> bool:
    """Stops processes; where one holds the write lock, nobody could take over: it lets them go on and gives False."""
    for process in processes:
        process.send(signal.SIGSTOP)
    until(lambda: all(process.stopped for process in processes))
    try:
        with closing(sqlite3.connect(search.layout.database, timeout=0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        for process in processes:
            process.send(signal.SIGCONT)
        return False
    return True


@pytest.mark.parametrize("stopped", [("driver",), ("recorder",), ("driver", "recorder")], ids="+".join)
def test_a_driver_that_wakes_after_a_takeover_writes_nothing(bed: Bed, stopped: tuple[str, ...]) -> None:
    search = bed.submit(SHORT, "--max-evals", ENDLESS, wait=False)
    search.await_ended(15)
    sleeping = [process for role in stopped for process in search.processes(role, 1)]
    until(lambda: stop_outside_a_write(search, sleeping), "they are stopped while nothing is being written")
    search.script().kill()
    until(lambda: all(process.stopped for process in sleeping) and not search.script().alive)
    before = search.recorded()
    total = len(before) + TOTAL
    search.resume("--max-evals", total)
    assert all(process.stopped for process in sleeping)
    check_objectives(search, total)
    check_kept(search, dict(before))

    files = (search.layout.database, search.layout.results)
    left = [file.read_bytes() for file in files]
    woken: list[Process] = processes_of(bed.folder)
    for process in sleeping:
        process.send(signal.SIGCONT)
    until(lambda: not any(process.alive for process in woken), "the old allocation ends")
    assert [file.read_bytes() for file in files] == left
    assert "Another driver works on this workflow now" in search.log()
    check_objectives(search, total)


def test_a_recorder_that_wakes_before_its_lines_are_written_doubles_none(bed: Bed) -> None:
    search = bed.submit(SHORT.replace("0.05", "0.01"), "--max-evals", ENDLESS, "--search", "random", wait=False)
    search.await_ended(15)

    def ahead() -> bool:
        try:
            with closing(sqlite3.connect(search.layout.database, timeout=0)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # refused where it holds the lock of a commit that is to come
                query = "SELECT count(*) FROM evaluation WHERE gathered_at IS NOT NULL"
                (recorded,) = connection.execute(query).fetchone()
        except sqlite3.OperationalError:  # it was stopped a moment too early
            return False
        return bool(recorded > len(search.lines()))

    recorder = stop_recorder(search, ahead, committing=False)
    search.process("driver").send(signal.SIGSTOP)
    search.script().kill()
    until(lambda: not search.script().alive)
    total = len(search.lines()) + 400
    search.resume("--max-evals", total)
    check_objectives(search, total)
    woken = processes_of(bed.folder)
    for role in ("driver", "recorder"):
        for process in search.processes(role, 1):
            process.send(signal.SIGCONT)
    until(lambda: not any(process.alive for process in woken), "the old allocation ends")
    assert not recorder.alive
    check_objectives(search, total)
