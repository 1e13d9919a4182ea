"""A database that is busy: evaluations go on, and in the end all is recorded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scenario_bed import Bed, Search, until

from hpcsearch.evaluation import State

#: How long the database is held at least (seconds), and how many evaluations begin meanwhile.
HELD_S, MEANWHILE = 3.0, 16
TOTAL = 60

RUN = """\
import time
from pathlib import Path

def run(config):
    with (Path(__file__).parent / "started").open("a") as file:
        file.write("started\\n")
    time.sleep(0.2)
    return float(config["n"])
"""

#: All configurations are in the database from the beginning, so what runs does not depend on its taking new ones.
PROBLEM = f"""\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter(list(range({TOTAL})), "n")
for n in range({TOTAL}):
    Problem.add_starting_point(n=n)
"""

HOLDER = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute(sys.argv[2])
connection.execute("SELECT * FROM evaluation").fetchone()
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@contextmanager
def held(search: Search, begin: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process holds the database by a transaction: not this one, whose every look at the file would end that."""
    argv = [sys.executable, "-c", HOLDER, str(search.layout.database), begin]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=search.bed.environment())
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        yield holder
        assert holder.poll() is None
    finally:
        holder.send_signal(signal.SIGCONT)
        holder.communicate()


def started(bed: Bed) -> int:
    """How many evaluations have begun, written by themselves."""
    file = bed.folder / "started"
    return len(file.read_text().splitlines()) if file.exists() else 0


def check_evaluations_go_on(bed: Bed, search: Search) -> None:
    """Evaluations begin, one after another, while the database is held, and none of it is recorded yet."""
    held_until, wanted = time.time() + HELD_S, started(bed) + MEANWHILE
    recorded = search.layout.database.read_bytes()
    until(lambda: time.time() > held_until and started(bed) >= wanted, "evaluations go on")
    assert search.layout.database.read_bytes() == recorded


def test_evaluations_go_on_while_the_database_is_held(bed: Bed) -> None:
    bed.nodes = 1
    search = bed.submit(RUN, "--max-evals", TOTAL, problem=PROBLEM, wait=False)
    search.await_ended(2)
    with held(search, "BEGIN IMMEDIATE"):
        check_evaluations_go_on(bed, search)
    search.await_ended(25)
    with held(search, "BEGIN") as reader:
        reader.send_signal(signal.SIGSTOP)
        check_evaluations_go_on(bed, search)
    assert search.await_exit() == 0
    assert {record.state for record in search.check(TOTAL)} == {State.FINISHED}
    assert started(bed) == TOTAL


def test_a_node_comes_back_while_the_database_is_held(bed: Bed) -> None:
    """The end of an attempt and the beginning of the next are recorded together, and in their order."""
    bed.nodes = 1
    search = bed.submit(RUN, "--max-evals", 12, problem=PROBLEM, wait=False)
    search.await_ended(2)
    agent = search.process("agent")
    with held(search, "BEGIN IMMEDIATE"):
        count = started(bed)
        until(lambda: started(bed) > count + 2, "a commit waits for the database")
        agent.kill()
        until(lambda: started(bed) > 12, "what was lost has begun again")
    assert search.await_exit() == 0
    records = search.check(12)
    assert {record.state for record in records} == {State.FINISHED}
    again = [record.id for record in records if record.attempts == 2]
    assert 1 <= len(again) <= 2
    attempts = search.rows("attempt", "evaluation")
    assert [row["evaluation"] for row in attempts if row["state"] == "LOST"] == again
