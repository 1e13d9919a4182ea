"""Launches: their commands by launcher, what each rank gets, and what their ends mean."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation import mpirun
from hpcsearch.allocation.launching import Launched, LaunchOrders
from hpcsearch.allocation.mpirun import Ranks, mpi_argv, mpi_environment, resolved
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.outcome import Heard, end_of
from hpcsearch.allocation.plan import Launch
from hpcsearch.allocation.rankshares import rank_shares
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Resources, State
from hpcsearch.program import Command
from hpcsearch.worker import telling
from hpcsearch.worker.protocol import Share

# ---- commands


def words(launch: Launch, ranks: Ranks) -> str:
    return " ".join(mpi_argv(launch, ranks, ["program"]))


def test_srun_has_all_of_its_nodes_and_shares_them_with_the_agents() -> None:
    argv = words(Launch("srun", ("--mpi=pmi2",)), Ranks(("n1", "n2"), 3))
    assert argv.startswith("srun -N2 -n6 --ntasks-per-node=3 --distribution=block --overlap --cpu-bind=none --mem=0 ")
    assert argv.endswith("-w n1,n2 --mpi=pmi2 program") and "--kill-on-bad-exit=1" in argv and "--wait=30" in argv
    assert "--wait=0" in words(Launch("srun"), Ranks(("n1",), 1, together=False))


def test_pals_and_hydra_name_their_hosts() -> None:
    ranks = Ranks(("n1", "n2"), 2)
    pals = words(Launch("pals", ("-g", "1"), "mpiexec"), ranks)
    assert pals == "mpiexec --hosts n1,n2 -n 4 --ppn 2 --cpu-bind none -g 1 program"
    hydra = words(Launch("hydra", (), "mpiexec"), ranks)
    assert hydra == "mpiexec -hosts n1,n2 -n 4 -ppn 2 -bind-to none program"
    here = words(Launch("hydra", (), "mpiexec"), Ranks((socket.gethostname(),), 2))
    assert here.startswith("mpiexec -launcher fork -hosts ")


def test_open_mpi_places_ranks_by_node_and_hands_variables_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNING", "fast")
    argv = mpi_argv(Launch("openmpi", (), "mpirun"), Ranks(("n1", "n2"), 2), ["program"])
    text = " ".join(argv)
    assert "--host n1:2,n2:2 -n 4 --map-by ppr:2:node --oversubscribe --bind-to none" in text
    assert "-x LEARNING" in text and argv[-1] == "program"


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("MPICH Version: 4.1", ("--mpi=pmi2",)),
        ("Intel(R) MPI Library 2021", ("--mpi=pmi2",)),
        ("Open MPI v4.1.4, package: ...", ("--mpi=pmix",)),
        ("something else", ()),
        ("", ()),
    ],
)
def test_the_plug_in_of_srun_is_chosen_by_the_library(library: str, arguments: tuple[str, ...]) -> None:
    assert resolved(Launch("srun"), lambda: library).arguments == arguments


def test_a_site_that_names_the_plug_in_has_the_last_word() -> None:
    def never() -> str:
        raise AssertionError("it was not to be asked")

    launch = Launch("srun", ("--mpi=cray_shasta",))
    assert resolved(launch, never) == launch


def test_where_there_is_no_launcher_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpirun.launchers, "find", lambda *_: None)
    with pytest.raises(AllocationError, match="No MPI launcher is on") as caught:
        resolved(Launch("none"))
    assert "hpcsearch[local-mpi]" in caught.value.hint


def test_launches_beside_each_other_share_the_steps_of_slurm() -> None:
    inside = {"SLURM_JOB_ID": "7", "HOME": "/h"}
    assert mpi_environment(Launch("hydra"), inside)["SLURM_OVERLAP"] == "1"
    assert "SLURM_OVERLAP" not in mpi_environment(Launch("srun"), inside)
    assert "SLURM_OVERLAP" not in mpi_environment(Launch("hydra"), {"HOME": "/h"})


# ---- shares


def share(first: int, count: int, gpus: tuple[str, ...] = (), bound: bool = True) -> Share:
    return Share(tuple(range(first, first + count)), count, gpus, bound)


def test_ranks_divide_cores_and_gpus_of_their_slots() -> None:
    shares = {"a": [share(0, 4, ("0", "1")), share(4, 4, ("2", "3"))]}
    placement = Placement("a", 0, (Placement("a", 1),))
    ((hosts, parts),) = rank_shares(placement, shares.__getitem__, Resources(ranks_per_node=4))
    assert hosts == [] and [part["cpus"] for part in parts] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [part["gpus"] for part in parts] == [["0"], ["1"], ["2"], ["3"]]
    assert {part["threads"] for part in parts} == {2}


def test_hosts_that_differ_are_told_apart() -> None:
    shares = {"a": [share(0, 2)], "b": [share(2, 2)], "c": [share(0, 2)]}
    placement = Placement("a", 0, (Placement("b", 0), Placement("c", 0)))
    groups = rank_shares(placement, shares.__getitem__, Resources(nodes=3))
    assert [hosts for hosts, _ in groups] == [["a", "c"], ["b"]]


def test_unbound_ranks_are_held_to_nothing_and_told_their_threads() -> None:
    ((_, parts),) = rank_shares(
        Placement("a", 0), lambda _: [share(0, 4, bound=False)], Resources(ranks_per_node=2, cores=3)
    )
    assert [(part["cpus"], part["threads"]) for part in parts] == [([], 3), ([], 3)]


@given(st.integers(1, 16), st.integers(1, 24), st.integers(0, 8))
def test_no_core_belongs_to_two_ranks(cores: int, ranks: int, gpus: int) -> None:
    own = share(0, cores, tuple(map(str, range(gpus))))
    needs = Resources(ranks_per_node=ranks)
    if ranks > cores:
        with pytest.raises(AllocationError, match=f"{ranks} ranks on one node need {ranks} CPUs"):
            rank_shares(Placement("a", 0), lambda _: [own], needs)
        return
    ((_, parts),) = rank_shares(Placement("a", 0), lambda _: [own], needs)
    assert len(parts) == ranks and all(part["threads"] >= 1 for part in parts)
    cpus = [cpu for part in parts for cpu in part["cpus"]]
    assert sorted(cpus) == list(range(cores))
    given_gpus = [gpu for part in parts for gpu in part["gpus"]]
    assert set(given_gpus) == set(map(str, range(gpus)))


# ---- ends

GONE: dict[str, Any] = {"status": 0, "last_lines": []}


def end(command: Command | None = None, directory: str = "/x", gone: Any = GONE, **heard: Any) -> Any:
    return end_of(Heard(**{"begun_at": 1.0, "present": True, **heard}), gone, command, directory, 5.0)


def test_what_rank_0_told_of_its_end_counts() -> None:
    told = ["FINISHED", 1.0, 3.0, 2.0, 0.5, {"note": 1}, None]
    ended = end(end=told, verdict=State.TIMED_OUT, gone={**GONE, "status": 143})
    assert (ended.state, ended.objective, ended.duration_s, ended.metadata) == (State.FINISHED, 0.5, 2.0, {"note": 1})


@pytest.mark.parametrize(
    ("known", "state", "kind", "message"),
    [
        ({"verdict": State.LOST, "reason": {"kind": "NodeLost", "message": "gone"}}, "LOST", "NodeLost", "gone"),
        ({"gone": {**GONE, "timed_out": True, "status": 143}}, "TIMED_OUT", "Timeout", "limit of 5 s"),
        (
            {"failure": (3, "n2", {"kind": "ValueError", "message": "no", "traceback": "t"})},
            "FAILED",
            "ValueError",
            "rank 3 on n2: no",
        ),
        ({"begun_at": None, "present": False}, "LOST", "LaunchError", "said nothing"),
        (
            {"begun_at": None, "gone": {**GONE, "status": 1, "last_lines": ["no pmix"]}},
            "FAILED",
            "MpiInitError",
            "pmix",
        ),
        ({"gone": {**GONE, "status": 137}}, "FAILED", "SIGKILL", "signal 9"),
        ({"gone": {**GONE, "status": 9, "killed_by": 11}}, "FAILED", "SIGSEGV", "signal 11"),
        ({"gone": {**GONE, "status": -15}}, "FAILED", "SIGTERM", "signal 15"),
        ({"gone": {**GONE, "status": 3, "last_lines": ["oh"]}}, "FAILED", "ProcessExit", "exit code 3 before.*: oh"),
    ],
)
def test_ends(known: dict[str, Any], state: str, kind: str, message: str) -> None:
    ended = end(**known)
    assert ended.state == state and ended.failure["kind"] == kind
    assert re.search(message, ended.failure["message"]), ended.failure


def test_a_death_by_signal_is_told_so_that_it_can_be_judged() -> None:
    assert end(gone={**GONE, "status": 128 + signal.SIGTERM}).killed_by == signal.SIGTERM
    assert end(gone={**GONE, "status": 1}).killed_by is None


def test_a_programs_objective_is_in_its_result_file_or_was_printed_last(tmp_path: Path) -> None:
    command = Command(["solver"])
    assert end(command, str(tmp_path), gone={**GONE, "announced": -0.5}).objective == -0.5
    (tmp_path / "result.json").write_text('{"objective": 2, "iterations": 7}')
    ended = end(command, str(tmp_path), gone={**GONE, "announced": -0.5})
    assert (ended.objective, ended.metadata) == (2.0, {"iterations": 7})
    (tmp_path / "result.json").unlink()
    failed = end(command, str(tmp_path))
    assert failed.state is State.FAILED and "gave no objective" in failed.failure["message"]
    assert "solver ended with exit code 4" in end(command, gone={**GONE, "status": 4}).failure["message"]


# ---- output


def launched(folder: Path, on_told: Any) -> Launched:
    orders = LaunchOrders(1, 1, "m", ["n1"], 2, [], {}, str(folder), {}, {}, None, str(folder / "log"), 10_000)
    return Launched(orders, Launch("srun"), on_told)


def test_what_is_told_is_kept_out_of_the_log() -> None:
    line = telling.MARK + json.dumps([telling.BEGUN, 1.5]).encode()
    assert telling.heard(line) == [telling.BEGUN, 1.5]
    assert telling.heard(line[:-3]) is None and telling.heard(b'["begun", 1.5]') is None


@given(st.lists(st.integers(1, 40), max_size=20))
def test_output_may_come_in_any_pieces(cuts: list[int]) -> None:
    text = b"one\n" + telling.MARK + b'["report",1,2.0,{}]\ntwo\nHPCSEARCH-OUTPUT: 0.25\nthree'
    with tempfile.TemporaryDirectory() as name:
        told: list[Any] = []
        launch = launched(Path(name), told.append)
        rest = text
        for cut in cuts:
            launch._take_output(rest[:cut])
            rest = rest[cut:]
        launch._take_output(rest + b"\n")
        launch._log.close()
        assert told == [["report", 1, 2.0, {}]] and launch.announced == 0.25
        assert Path(name, "log").read_bytes() == b"one\ntwo\nHPCSEARCH-OUTPUT: 0.25\nthree\n"


def test_the_rank_that_was_killed_is_named_by_srun_and_its_noise_is_left_out(tmp_path: Path) -> None:
    launch = launched(tmp_path, print)
    launch._take_errors(b"srun: cluster configuration lacks support for cpu binding\nsrun: error: n2: task 1: Segm")
    launch._take_errors(b"entation fault (core dumped)\nsrun: error: n1: task 0: Terminated\n")
    launch._log.close()
    assert launch.killed_by == signal.SIGSEGV
    assert "cpu binding" not in (tmp_path / "log").read_text()
    assert launch.last_lines[-1] == "srun: error: n1: task 0: Terminated"


def test_a_log_that_is_read_while_it_grows_has_whole_lines(tmp_path: Path) -> None:
    launch = launched(tmp_path, print)
    launch._take_errors(b"first\nsec")
    assert (tmp_path / "log").read_text() == "first\n"
    assert os.path.getsize(tmp_path / "log") == 6  # noqa: PTH202
