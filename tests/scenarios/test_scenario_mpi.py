"""Job mode mpi: evaluations that are MPI launches of their own, and what becomes of their ranks."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from scenario_bed import Bed, ClusterBed, failing_problem, processes_of, until
from slurm_bed import SlurmBed, SlurmMpiBed

from hpcsearch.evaluation import State

pytestmark = pytest.mark.beds("local-mpi")

# ---- evaluations over several nodes

#: Every rank reads its part of a data set that rank 0 has stored, and the objective is a reduction over all ranks.
REDUCED = """\
import os, socket, time
import h5py
import numpy
import hpcsearch

def run(config, comm):
    world = hpcsearch.world()
    file = str(hpcsearch.evaluation().directory / "data.h5") if comm.rank == 0 else None
    if comm.rank == 0:
        with h5py.File(file, "w") as data:
            data["values"] = numpy.arange(8.0) * config["x"]
    file = comm.bcast(file)
    with h5py.File(file) as data:
        own = data["values"][comm.rank :: comm.size]
    places = comm.gather([socket.gethostname(), world.rank, world.local_rank, world.node_rank, world.size,
                          sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"], list(world.hosts)])
    time.sleep(1.0 + 0.5 * (config["n"] % 2))
    return {"objective": comm.allreduce(own.sum()), "places": places}
"""


@pytest.mark.beds("slurm-mpi")
def test_evaluations_of_two_nodes_with_two_ranks_each_two_at_a_time(bed: ClusterBed) -> None:
    search = bed.submit(REDUCED, "--nodes-per-eval", 2, "--ranks-per-node", 2, "--max-evals", 8, slots=1)
    records = search.check(8)
    moments: list[tuple[float, int]] = []
    for record in records:
        assert record.state is State.FINISHED and record.objective == pytest.approx(28 * record.config["x"])
        hosts = record.metadata["places"][0][-1]
        assert len(set(hosts)) == 2 and record.node == hosts[0]
        for rank, place in enumerate(record.metadata["places"]):
            local, node = rank % 2, rank // 2
            assert place[:5] == [hosts[node], rank, local, node, 4]
            assert place[6] == str(max(1, len(os.sched_getaffinity(0)) // 2))
        assert record.started_at is not None and record.ended_at is not None
        moments += [(record.started_at, 1), (record.ended_at, -1)]
    at_once, most = 0, 0
    for _, change in sorted(moments):
        at_once += change
        most = max(most, at_once)
    assert most == 2
    rows = search.rows("evaluation")
    assert all(len(row["nodes"].split(",")) == 2 for row in rows)
    assert len({row["nodes"] for row in rows}) >= 2
    assert {row["busy_s"] > 0 for row in search.rows("node", "name")} == {True}


RANKS = """\
import os
import hpcsearch

def run(config, comm):
    world = hpcsearch.world()
    everybody = comm.allgather((world.rank, sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"]))
    hpcsearch.report(step=1, ranks=world.size)
    print(f"rank {comm.rank} of evaluation {hpcsearch.evaluation().id}")
    assert config == comm.bcast(config)
    return {"objective": comm.allreduce(config["x"]), "everybody": everybody}
"""


def test_all_ranks_get_the_configuration_and_cores_of_their_own(bed: Bed) -> None:
    search = bed.submit(RANKS, "--ranks-per-node", 2, "--max-evals", 3, slots=1)
    for record in search.check(3):
        assert record.objective == pytest.approx(2 * record.config["x"])
        everybody = record.metadata["everybody"]
        assert [rank for rank, _, _ in everybody] == [0, 1]
        if bed.cores >= 2:
            assert not set(everybody[0][1]) & set(everybody[1][1]), "two ranks share a core"
            assert {threads for _, _, threads in everybody} == {str(bed.cores // 2)}
        log = (search.layout.evaluation(record.id) / "log").read_text()
        assert sorted(log.splitlines()) == [f"rank {rank} of evaluation {record.id}" for rank in (0, 1)]
    assert len(search.rows("report")) == 3


# ---- ranks that fail

#: What rank 1 does -> state, kind of failure, words of its message.
FAILURES = {
    "raise": (State.FAILED, "ValueError", "rank 1 on .*: it diverged"),
    "kill": (State.FAILED, "SIGKILL", "a rank was killed by signal 9"),
    "exit": (State.FAILED, "ProcessExit|SIG.*", "."),
    "hang": (State.TIMED_OUT, "Timeout", "longer than its time limit of 8 s"),
    "sys.exit": (State.FAILED, "SystemExit", "rank 1 on .*sys.exit"),
}

FAILING = """\
import os, signal, sys, time

def run(config, comm):
    if comm.rank == 1:
        what = config["what"]
        if what == "raise":
            raise ValueError("it diverged")
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(3)
        if what == "sys.exit":
            sys.exit(5)
        if what == "hang":
            time.sleep(600)
    return comm.allreduce(float(config["turn"])) / comm.size
"""


@pytest.mark.beds("local-mpi", "slurm-mpi")
def test_a_rank_that_fails_ends_its_evaluation_and_no_other(bed: Bed) -> None:
    total = len(FAILURES) + 3
    options = ["--ranks-per-node", 2, "--max-evals", total, "--eval-timeout", 8, "--search", "random"]
    search = bed.submit(FAILING, *options, problem=failing_problem(FAILURES, 3), slots=1)
    for record in search.check(total):
        what = record.config["what"]
        if what == "good":
            assert record.state is State.FINISHED and record.objective == record.config["turn"], record.failure
            continue
        state, kind, words = FAILURES[what]
        assert record.failure is not None and record.state is state, (what, record.failure)
        assert re.fullmatch(kind, record.failure.kind) and re.search(words, record.failure.message), record.failure
        assert record.duration_s is not None and record.duration_s < 30
    (raised,) = [record for record in search.records() if record.config["what"] == "raise"]
    assert raised.failure is not None and "run_poly.py" in raised.failure.traceback
    assert not search.processes("rank")


HASTY = """\
import os, signal, time
from mpi4py import MPI

if MPI.COMM_WORLD.rank == 0:
    time.sleep(1)

def run(config, comm):
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.Barrier()
    return config["x"]
"""


def test_a_rank_that_dies_while_the_first_one_still_imports_is_not_taken_for_an_mpi_that_does_not_fit(bed: Bed) -> None:
    search = bed.submit(HASTY, "--ranks-per-node", 2, "--max-evals", 1, slots=1, status=1)
    (record,) = search.check(1)
    assert record.failure is not None and record.failure.kind == "SIGKILL", record.failure
    assert record.duration_s is not None


# ---- what dies beside them

SLOW = """\
import time

def run(config, comm):
    time.sleep(1.5)
    return comm.allreduce(config["x"])
"""


@pytest.mark.parametrize("role", ["desk", "driver", "agent"])
def test_a_process_around_the_launches_dies(bed: Bed, role: str) -> None:
    search = bed.submit(SLOW, "--ranks-per-node", 2, "--max-evals", 4, slots=1, wait=False)
    search.await_running()
    search.process(role).kill()
    assert search.await_exit() == 0
    assert {record.state for record in search.check(4)} == {State.FINISHED}


def test_a_launcher_that_is_killed_costs_its_evaluation_alone(bed: Bed) -> None:
    search = bed.submit(SLOW, "--ranks-per-node", 2, "--max-evals", 4, slots=1, wait=False)
    search.await_running()
    rank = search.process("rank")
    launchers = [one for one in processes_of(bed.folder) if "mpiexec" in "".join(one.argv()[:1]) and one.parent != 1]
    assert launchers, [one.argv()[:2] for one in processes_of(bed.folder)]
    launchers[0].kill()
    until(lambda: not rank.alive, "its ranks are ended")
    assert search.await_exit() == 0
    states = Counter(record.state for record in search.check(4))
    assert states == {State.FINISHED: 3, State.FAILED: 1}
    (failed,) = [record for record in search.records() if record.state is State.FAILED]
    assert failed.failure is not None and failed.failure.kind == "SIGKILL"


@pytest.mark.beds("slurm")
def test_a_node_of_two_dies_and_the_evaluation_goes_to_others(bed: SlurmBed) -> None:
    bed.job_mode = "mpi"
    options = ["--nodes-per-eval", 2, "--max-evals", 14]  # the death is noticed only after half a minute
    search = bed.submit(SLOW.replace("1.5", "4"), *options, slots=1, wait=False)
    search.await_running(2)
    running = [row for row in search.rows("evaluation") if row["state"] == "RUNNING"]
    (hit,) = [row for row in running if "sn4" in row["nodes"].split(",")]
    with bed.crashed(4):
        until(lambda: search.exit_status() is not None, "the allocation ends", limit_s=200)
        assert search.await_exit() == 0
    records = search.check(14)
    assert {record.state for record in records} == {State.FINISHED}
    (again,) = [record for record in records if record.attempts > 1]
    assert again.id == hit["id"]
    lost = [row for row in search.rows("attempt", "evaluation") if row["state"] == "LOST"]
    assert [(row["evaluation"], row["nodes"], row["error_kind"]) for row in lost] == [
        (hit["id"], hit["nodes"], "NodeLost")
    ]


@pytest.mark.beds("slurm")
def test_nodes_that_two_node_evaluations_do_not_need_go_back(bed: SlurmBed) -> None:
    bed.job_mode = "mpi"
    run = SLOW.replace("time.sleep(1.5)", "time.sleep(12 if config['n'] else 1)")
    problem = (
        "from hpcsearch import HpProblem\n\nProblem = HpProblem()\nProblem.add_hyperparameter((0.0, 1.0), 'x')\n"
        "Problem.add_hyperparameter([0, 1], 'n')\nProblem.add_starting_point(x=0.5, n=1)\n"
        "Problem.add_starting_point(x=0.6, n=0)\nProblem.add_starting_point(x=0.7, n=0)\n"
    )
    options = ["--nodes-per-eval", 2, "--max-evals", 3, "--search", "random"]
    search = bed.submit(run, *options, problem=problem, slots=1)
    search.check(3)
    (long,) = [row["nodes"].split(",") for row in search.rows("evaluation") if row["duration_s"] > 10]
    kept = {bed.node(1), *long}  # the first node never goes
    states = {row["name"]: row["state"] for row in search.rows("node", "name")}
    assert len(states) == 4 and len(kept) < 4
    assert states == {name: "DONE" if name in kept else "RELEASED" for name in states}, search.log()


# ---- launchers

#: A site whose evaluations are started by another launcher than its agents.
OTHER = '[launcher]\nkind = "srun"\nmpi_kind = "{kind}"\nmpi_program = "{program}"\n'

HELLO = "def run(config, comm):\n    return comm.allreduce(1)\n"


def use_library(library: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has mpi4py take one of Debian's MPI libraries."""
    name = {"mpich": "libmpich.so.12", "openmpi": "libmpi.so.40"}[library]
    found = next(Path("/usr/lib").glob(f"*/{name}"))
    monkeypatch.setenv("MPI4PY_MPIABI", library)
    if library == "openmpi":
        monkeypatch.setenv("MPI4PY_LIBMPI", str(found))
    else:  # which it looks for under the name that all libraries of its ABI share
        (folder / "lib").mkdir()
        (folder / "lib/libmpi.so.12").symlink_to(found)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder / "lib"))


@pytest.mark.beds("slurm-mpi")
@pytest.mark.parametrize(
    ("kind", "program", "library"),
    [
        ("srun", "", "mpich"),
        ("srun", "", "openmpi"),
        ("hydra", "mpiexec.mpich", "mpich"),
        ("openmpi", "mpirun.openmpi", "openmpi"),
    ],
)
def test_each_launcher_starts_its_librarys_ranks(
    bed: SlurmMpiBed, kind: str, program: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_library(library, bed.folder, monkeypatch)
    site = bed.folder / "config/hpcsearch/sites/slurm.toml"
    site.write_text(site.read_text() + OTHER.format(kind=kind, program=program))
    options = ["-n", 2, "--nodes-per-eval", 2, "--ranks-per-node", 2, "--max-evals", 3]
    search = bed.submit(HELLO, *options, slots=1)
    assert [record.objective for record in search.check(3)] == [4.0] * 3, search.log()


@pytest.mark.beds("slurm-mpi")
@pytest.mark.parametrize(
    ("library", "pmi", "kind", "words"),
    [
        ("mpich", "none", "WorldSizeError", "MPI has 1 rank where the evaluation has 2"),
        ("openmpi", "pmi2", "MpiInitError|WorldSizeError", "MPI could not be initialised|MPI has 1 rank"),
    ],
)
def test_a_launcher_that_does_not_fit_the_library_is_told_with_the_cure(
    bed: SlurmMpiBed, library: str, pmi: str, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_library(library, bed.folder, monkeypatch)
    site = bed.folder / "config/hpcsearch/sites/slurm.toml"
    site.write_text(site.read_text() + f'[launcher]\nkind = "srun"\nmpi_arguments = ["--mpi={pmi}"]\n')
    search = bed.submit(HELLO, "-n", 1, "--ranks-per-node", 2, "--max-evals", 1, slots=1, status=1)
    (record,) = search.check(1)
    assert record.failure is not None and record.state is State.FAILED
    assert re.fullmatch(kind, record.failure.kind) and re.search(words, record.failure.message), record.failure
    assert "--mpi=pmix for Open MPI" in record.failure.message


# ---- how many, and how fast

#: A site that takes a launch every two seconds, and not many in all.
SLOWLY = "[launcher]\nlaunches_per_s = 0.5\nmax_launches = 4\n"


def test_launches_come_no_faster_and_are_counted_as_the_site_says(bed: Bed) -> None:
    sites = bed.folder / "config/hpcsearch/sites"
    sites.mkdir(parents=True)
    (sites / "local.toml").write_text(SLOWLY)
    search = bed.submit(HELLO, "--max-evals", 4, slots=1)
    begun_at = sorted(record.started_at or 0.0 for record in search.check(4))
    assert begun_at[-1] - begun_at[0] > 3.0  # three intervals, less what one launch may take longer than another
    assert "3 evaluations were launched, and the scheduler takes 4 launches in one allocation" in search.log()


# ---- programs

C_PROGRAM = """\
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  double x = atof(argv[1]), part = x / size, sum = 0;
  MPI_Reduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0) {
    FILE *file = fopen(getenv("HPCSEARCH_RESULT"), "w");
    fprintf(file, "{\\"objective\\": %.17g, \\"ranks\\": %d}", sum, size);
    fclose(file);
  }
  MPI_Finalize();
  return strcmp(argv[2], "7") == 0 ? 3 : 0;
}
"""

PROGRAMS = """\
import os
from pathlib import Path
import hpcsearch

@hpcsearch.command
def run(config):
    here = Path(__file__).parent
    if config["n"] == 0:
        return hpcsearch.Command(["/bin/sh", "-c", "echo DH-OUTPUT: 0.5"], launcher="none")
    if config["n"] == 1:
        return hpcsearch.Command([here / "missing"], ranks_per_node=2)
    return hpcsearch.Command([here / "program", config["x"], config["n"]], ranks_per_node=2 if config["n"] == 4 else 1)
"""

PROGRAM_PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((0.0, 10.0), "x")
Problem.add_hyperparameter([0, 1, 2, 4, 7], "n")
for n in (0, 1, 2, 4, 7):
    Problem.add_starting_point(x=float(n), n=n)
"""


@pytest.mark.beds("local-mpi", "slurm-mpi")
def test_programs_are_launched_with_as_many_ranks_as_they_say(bed: Bed) -> None:
    scripts = Path(__file__).parents[1] / "cluster"
    subprocess.run([scripts / "install.sh", "libmpich-dev", "mpich"], check=True)
    (bed.folder / "program.c").write_text(C_PROGRAM)
    subprocess.run(["mpicc.mpich", "-o", bed.folder / "program", bed.folder / "program.c"], check=True)
    bed.nodes = 1
    search = bed.submit(PROGRAMS, "--max-evals", 5, "--search", "random", problem=PROGRAM_PROBLEM, slots=1)
    by_n = {record.config["n"]: record for record in search.check(5)}
    assert by_n[0].objective == 0.5
    for n, ranks in ((2, 1), (4, 2)):
        assert by_n[n].objective == pytest.approx(float(n)) and by_n[n].metadata == {"ranks": ranks}, by_n[n].failure
    missing, code = by_n[1].failure, by_n[7].failure
    assert missing is not None and "missing cannot be started: No such file" in missing.message
    assert code is not None and "program ended with exit code 3" in code.message


# ---- sizes that differ

MIXED = """\
import os, time
import hpcsearch

@hpcsearch.resources(lambda config: hpcsearch.Resources(nodes=config["n"], ranks_per_node=1))
def run(config, comm):
    world = hpcsearch.world()
    assert comm.size == len(world.hosts) == config["n"]
    time.sleep(0.5)
    return {"objective": config["x"], "hosts": list(world.hosts)}
"""

MIXED_PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((0.0, 10.0), "x")
Problem.add_hyperparameter([1, 2, 3, 9], "n")
for n in (1, 2, 1, 3, 1, 9, 2, 1, 3, 1):
    Problem.add_starting_point(x=float(len(Problem.starting_points)), n=n)
"""


@pytest.mark.beds("slurm-mpi")
def test_evaluations_of_different_sizes_share_no_node(bed: SlurmMpiBed) -> None:
    search = bed.submit(MIXED, "--max-evals", 10, "--search", "random", problem=MIXED_PROBLEM, slots=1)
    records = search.check(10)
    spans = []
    for record in records:
        if record.config["n"] == 9:
            assert record.failure is not None and record.state is State.FAILED
            assert record.failure.message == "it asks for 9 nodes, and the allocation has 4"
            continue
        assert record.state is State.FINISHED, record.failure
        hosts = record.metadata["hosts"]
        assert len(set(hosts)) == record.config["n"]
        assert record.started_at is not None and record.duration_s is not None
        spans.append((record.started_at, record.started_at + record.duration_s, set(hosts)))
    for begin, end, hosts in spans:
        for other_begin, other_end, others in spans:
            apart = other_end <= begin or end <= other_begin or (begin, hosts) == (other_begin, others)
            assert apart or not hosts & others, "two evaluations were on a node at once"
