"""What an evaluation may do, and what becomes of it: failures, time limits, output, its context, its slot, MPI."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from scenario_bed import Bed, failing_problem, processes_of, until

from hpcsearch.evaluation import State
from hpcsearch.monitor.snapshot import take_snapshot

# ---- failures

#: What an evaluation does -> the kind of its failure, and what its message says.
FAILURES = {
    "raise": ("ValueError", "it diverged"),
    "nan": ("BadResultError", "nan"),
    "infinite": ("BadResultError", "inf"),
    "none": ("BadResultError", "None"),
    "text": ("BadResultError", "'good'"),
    "sys.exit": ("SystemExit", "sys.exit(5)"),
    "os._exit": ("ProcessExit", "exit code 3"),
    "segfault": ("SIGSEGV", "signal 11"),
    "sigkill": ("SIGKILL", "signal 9"),
    "memory": ("MemoryError", ""),
    "thread": ("ProcessExit", "exit code 4"),
}

FAILING = """\
import os, resource, signal, sys, threading, time

def run(config):
    what = config["what"]
    if what == "raise":
        raise ValueError("it diverged")
    if what == "sys.exit":
        sys.exit(5)
    if what == "os._exit":
        os._exit(3)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "thread":
        threading.Thread(target=os._exit, args=(4,)).start()
        time.sleep(60)
    if what == "memory":
        usual = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, usual[1]))
        try:
            bytearray(2 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, usual)
    wrong = {"nan": float("nan"), "infinite": float("-inf"), "none": None, "text": "good"}
    if what in wrong:
        return wrong[what]
    time.sleep(0.1)
    return {"objective": float(config["turn"]), "note": {"turn": config["turn"], "loss": [0.5, None]}}
"""


@pytest.mark.beds("local", "slurm", "local-mpi")
def test_failures_are_told_apart_and_harm_nothing_else(bed: Bed) -> None:
    bed.nodes = 1
    total = len(FAILURES) + 8
    search = bed.submit(FAILING, "--max-evals", total, "--search", "random", problem=failing_problem(FAILURES, 8))
    by_kind = defaultdict(list)
    for record in search.check(total):
        by_kind[record.config["what"]].append(record)
    for what, (kind, words) in FAILURES.items():
        (record,) = by_kind[what]
        assert record.state is State.FAILED and record.objective is None, what
        assert record.failure is not None and record.failure.kind == kind, (what, record.failure)
        assert words in record.failure.message, (what, record.failure)
        assert record.attempts == 1
        assert record.ended_at is not None and record.duration_s is not None and record.duration_s < 10
    (raised,) = by_kind["raise"]
    assert raised.failure is not None and "run_poly.py" in raised.failure.traceback
    assert "hpcsearch/worker" not in raised.failure.traceback
    assert len(by_kind["good"]) == 8
    for record in by_kind["good"]:
        turn = record.config["turn"]
        assert record.state is State.FINISHED and record.objective == turn
        assert record.metadata == {"note": {"turn": turn, "loss": [0.5, None]}}
    assert len({(record.node, record.slot) for record in by_kind["good"]}) == 2 * bed.nodes, "a slot works no more"
    failed = {line["id"] for line in search.lines() if line["state"] == "FAILED" and not line["objective"]}
    assert len(failed) == len(FAILURES)


def test_a_search_whose_evaluations_all_fail_says_so(bed: Bed) -> None:
    search = bed.submit("def run(config):\n    raise OSError('no data')\n", "--max-evals", 3, status=1)
    search.check(3)
    assert "None of the 3 evaluations" in search.output
    assert "OSError: no data" in search.output


# ---- time limits

ESCAPING = """\
import os, time

def flee(word, new_session):
    if os.fork() == 0:
        if new_session:
            os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", word])
        os._exit(0)
    os.wait()

def run(config):
    if config["n"] == 1:
        flee("987001", True)
        time.sleep(60)
    if config["n"] == 2:
        flee("987002", False)
        time.sleep(60)
    if config["n"] == 3:  # a daemon that outlives an evaluation that ends well
        flee("987003", True)
    time.sleep(0.4)
    return float(config["n"])
"""

COUNTED_PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter(list(range(1, {count} + 1)), "n")
for n in range(1, {count} + 1):
    Problem.add_starting_point(n=n)
"""


def sleepers(bed: Bed) -> set[str]:
    return {process.argv()[-1] for process in processes_of(bed.folder)} & {"987001", "987002", "987003"}


@pytest.mark.beds("local", "slurm", "local-mpi")
def test_a_time_limit_ends_the_whole_tree(bed: Bed) -> None:
    bed.nodes = 1
    search = bed.submit(
        ESCAPING, "--max-evals", 12, "--eval-timeout", 1.5, problem=COUNTED_PROBLEM.format(count=12), wait=False
    )
    until(lambda: {"987001", "987002"} <= sleepers(bed), "both have fled")
    until(lambda: search.counts().get(State.TIMED_OUT, 0) == 2, "both time out")
    # Not only when the allocation ends: the slots go on, without what was left in them.
    assert sleepers(bed) <= {"987003"} and search.process("driver").alive
    search.await_exit()
    assert not sleepers(bed)
    for record in search.check(12):
        if record.config["n"] in (1, 2):
            assert record.state is State.TIMED_OUT and record.objective is None
            assert record.failure is not None and "1.5 s" in record.failure.message
            assert record.duration_s is not None and 1.4 < record.duration_s < 10
        else:
            assert record.state is State.FINISHED


# ---- output

TALKING = """\
import os, subprocess, sys

def run(config):
    n = config["n"]
    if n % 3 == 0:
        return float(n)
    print(f"python says {n}")
    os.system(f"echo shell says {n}")
    os.write(2, b"descriptor says %d\\n" % n)
    print(f"error says {n}", file=sys.stderr, end="")
    if n % 3 == 1:
        sys.stdout.write(f"no newline {n}")
    return float(n)
"""


def test_output_goes_to_its_own_evaluation(bed: Bed) -> None:
    search = bed.submit(TALKING, "--max-evals", 90, problem=COUNTED_PROBLEM.format(count=90))
    for record in search.check(90):
        n = record.config["n"]
        text = search.printed(record.id).decode()
        if n % 3 == 0:
            assert not search.layout.evaluation(record.id).exists(), "it printed nothing"
            continue
        for word in ("python", "shell", "descriptor", "error"):
            assert f"{word} says {n}" in text, (n, text)
        assert (f"no newline {n}" in text) == (n % 3 == 1)
        assert text.count("says") == 4, "another evaluation's output"


FLOODING = """\
import os

def run(config):
    if config["n"] == 1:
        os.write(1, b"the beginning\\n")
        line = b"x" * 9_999 + b"\\n"
        for _ in range(3_000):
            os.write(1, line)
        os.write(1, b"the end\\n")
    return float(config["n"])
"""


@pytest.mark.beds("local", "local-mpi")
def test_a_flood_of_output_is_capped(bed: Bed) -> None:
    search = bed.submit(FLOODING, "--max-evals", 6, problem=COUNTED_PROBLEM.format(count=6))
    (flood,) = [record for record in search.check(6) if record.config["n"] == 1]
    assert flood.state is State.FINISHED
    log = search.printed(flood.id)
    assert 9_000_000 < len(log) < 10_100_000
    assert log.startswith(b"the beginning\nxxx") and log.endswith(b"xxx\nthe end\n")
    (note,) = [line for line in log.splitlines() if b"left out" in line]
    left_out = int(note.split()[1])
    written = len(b"the beginning\n") + 3_000 * 10_000 + len(b"the end\n")
    assert len(log) - len(b"\n" + note + b"\n") + left_out == written


# ---- what an evaluation sees

LOOKING = """\
import os, time
from pathlib import Path
import hpcsearch

def run(config):
    here = hpcsearch.evaluation()
    seen = {
        "id": here.id,
        "attempt": here.attempt,
        "slot": here.slot,
        "config": here.config == config,
        "directory": str(here.directory),
        "time_left_s": here.time_left_s,
        "cwd": os.getcwd(),
        "mark": os.environ.get("LEFT_BY_ANOTHER"),
        "home": os.environ.get("HOME"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "cores": sorted(os.sched_getaffinity(0)),
        "pid": os.getpid(),
    }
    os.environ["LEFT_BY_ANOTHER"] = str(here.id)
    del os.environ["HOME"]
    os.chdir(here.directory)
    if here.id == 1:
        hpcsearch.report(step=1, loss=0.5)
        hpcsearch.report(step=2, loss=0.25, note="half")
        end = time.monotonic() + 30
        while not (Path(__file__).parent / "seen").exists():
            if time.monotonic() > end:
                raise TimeoutError("nobody has seen the reports")
            time.sleep(0.02)
    else:
        time.sleep(0.05)
    return {"objective": config["x"], "seen": seen}
"""


@pytest.mark.beds("local", "local-mpi")
def test_an_evaluation_knows_itself_and_reports_at_once(bed: Bed) -> None:
    search = bed.submit(LOOKING, "--max-evals", 12, "--eval-timeout", 50, wait=False, walltime=10)
    until(lambda: len(search.rows("report")) == 2, "the reports are in the database")
    first = search.records()[0]
    assert first.state is State.RUNNING
    assert [(report.step, report.metrics) for report in first.reports] == [
        (1.0, {"loss": 0.5}),
        (2.0, {"loss": 0.25, "note": "half"}),
    ]
    (bed.folder / "seen").touch()
    search.await_exit()
    records = search.check(12)
    assert {record.state for record in records} == {State.FINISHED}
    cores_of: dict[tuple[str | None, int | None], set[int]] = {}
    for record in records:
        seen = record.metadata["seen"]
        assert (seen["id"], seen["attempt"], seen["slot"]) == (record.id, 1, record.slot)
        assert seen["config"]
        assert Path(seen["directory"]) == search.layout.evaluation(record.id)
        assert 0 < seen["time_left_s"] <= 50
        assert seen["cwd"] == str(bed.folder)
        assert seen["mark"] is None
        assert seen["home"]
        assert seen["threads"] == str(len(seen["cores"]))
        cores_of[record.node, record.slot] = set(seen["cores"])
    for node in {node for node, _ in cores_of}:
        shares = [cores for (name, _), cores in cores_of.items() if name == node]
        assert len(shares) == 2
        assert shares[0].isdisjoint(shares[1]) and len(shares[0] | shares[1]) == bed.cores


PLAIN = """\
def run(config):
    return config["x"]
"""


@pytest.mark.beds("slurm")  # whose site file does not say how many cores a node has
def test_more_slots_than_cores_must_be_asked_for(bed: Bed) -> None:
    slots = bed.cores + 1
    search = bed.submit(PLAIN, "--max-evals", 6, slots=slots, status=9)
    given = min(bed.cores, len(os.sched_getaffinity(0)))  # a node of the cluster is a share of this machine
    sentence = f"{slots} evaluations at once on one node need {slots} cores, and its agent was given {given}."
    assert sentence in search.log()
    assert "--no-bind" in search.log()
    assert "no node can run anything" in search.status()
    assert search.exit_status() == 9
    search.resume("--no-bind")
    search.check(6)


# ---- slots

WHO = """\
import os, time

def run(config):
    time.sleep(0.02)
    return {"objective": config["x"], "pid": os.getpid()}
"""


@pytest.mark.parametrize(("reuse", "longest"), [("never", 1), ("3", 3), ("always", 10)])
def test_a_slots_process_lives_as_long_as_it_may(bed: Bed, reuse: str, longest: int) -> None:
    bed.nodes = 1
    search = bed.submit(WHO, "--max-evals", 10, "--slot-reuse", reuse, slots=1)
    pids = [record.metadata["pid"] for record in sorted(search.check(10), key=lambda record: record.started_at or 0)]
    groups = [pids[start : start + longest] for start in range(0, 10, longest)]
    assert all(len(set(group)) == 1 for group in groups), pids
    assert len(set(pids)) == len(groups), pids


# ---- MPI

SINGLETON = """\
def run(config):
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    return {"objective": float(world.allreduce(config["n"])), "size": world.size}
"""

LAUNCHING = '''\
import subprocess, sys

PROGRAM = """
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
if world.rank == 0:
    print(world.size, total)
"""

def run(config):
    argv = ["MPIEXEC", "-n", "2", sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return {"objective": float(config["n"]), "said": done.stdout.split()}
'''


@pytest.mark.parametrize("reuse", ["always", "never"])
def test_evaluations_that_initialise_mpi_follow_each_other(bed: Bed, reuse: str) -> None:
    search = bed.submit(SINGLETON, "--max-evals", 6, "--slot-reuse", reuse, problem=COUNTED_PROBLEM.format(count=6))
    for record in search.check(6):
        assert record.state is State.FINISHED, record.failure
        assert record.objective == record.config["n"] and record.metadata["size"] == 1


def test_evaluations_that_launch_mpi_follow_each_other(bed: Bed) -> None:
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    assert mpiexec, "the package mpich is not installed beside this Python"
    run = LAUNCHING.replace("MPIEXEC", mpiexec)
    search = bed.submit(run, "--max-evals", 5, problem=COUNTED_PROBLEM.format(count=5))
    for record in search.check(5):
        assert record.state is State.FINISHED, record.failure
        assert record.metadata["said"] == ["2", "3"]


# ---- evaluations that take more than a slot

WIDE = """\
import os, time
import hpcsearch

@hpcsearch.resources(lambda config: hpcsearch.Resources(cores=config["cores"]))
def run(config):
    time.sleep(0.2)
    cpus = sorted(os.sched_getaffinity(0))
    return {"objective": config["x"], "cpus": cpus, "threads": os.environ["OMP_NUM_THREADS"]}
"""

WIDE_PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((0.0, 10.0), "x")
Problem.add_hyperparameter([1, 2, 99], "cores")
for cores in (1, 2, 1, 2, 2, 1, 1, 99):
    Problem.add_starting_point(x=float(len(Problem.starting_points)), cores=cores)
"""


def test_an_evaluation_gets_as_many_slots_as_have_what_it_asks_for(bed: Bed) -> None:
    if bed.cores < 2:
        pytest.fail("this machine has one core")
    search = bed.submit(
        WIDE, "--max-evals", 8, "--search", "random", problem=WIDE_PROBLEM, slots=bed.cores, walltime=30
    )
    spans = []
    for record in search.check(8):
        cores = record.config["cores"]
        if cores == 99:
            assert record.failure is not None and record.state is State.FAILED
            assert record.failure.message == f"it asks for 99 cores on a node, and a node has {bed.cores}"
            continue
        assert len(record.metadata["cpus"]) == cores and record.metadata["threads"] == str(cores)
        assert record.started_at is not None and record.duration_s is not None
        spans.append((record.started_at, record.started_at + record.duration_s, set(record.metadata["cpus"])))
    for number, (begin, end, cpus) in enumerate(spans):
        for other_begin, other_end, others in spans[:number]:
            assert end <= other_begin or other_end <= begin or not cpus & others, "two evaluations had a core"


FILLING = """\
import time
from pathlib import Path
import hpcsearch

@hpcsearch.resources(lambda config: hpcsearch.Resources(cores=2))
def run(config):
    end = time.monotonic() + 60
    while not Path("go").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return config["x"]
"""


def test_all_the_slots_of_an_evaluation_are_busy(bed: Bed) -> None:
    """While it runs, and in the node-hours of its allocation."""
    if bed.cores < 2:
        pytest.fail("this machine has one core")
    search = bed.submit(FILLING, "--max-evals", 1, slots=bed.cores, wait=False)
    search.await_running()
    status = search.status()
    (bed.folder / "go").touch()
    assert f"2 of {bed.cores} busy" in status
    assert search.await_exit() == 0
    (record,) = search.check(1)
    (node,) = take_snapshot(search.layout, with_nodes=True).nodes
    assert node.busy_s * bed.cores == pytest.approx(2 * record.duration_s, rel=0.05)
