"""Evaluations with several ranks, by real agents: two of them stand for two nodes of one machine."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from process_bed import alive

from hpcsearch.allocation import ranks
from hpcsearch.allocation.agents import Agents
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.launch import Host
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.ranks import RanksExecutor
from hpcsearch.allocation.rankset import Limits
from hpcsearch.evaluation import Evaluation, Resources, State
from hpcsearch.worker.processes import descendants

LIMIT_S = 60.0
HOSTS = ("n1", "n2")

MODEL = """\
import json, os, signal, sys, time
import hpcsearch

HERE = int(os.environ["RANK"]) if "RANK" in os.environ else 0
if os.path.exists(f"stay-out-{HERE}"):
    time.sleep(600)

def horovods_way_to_tell(config):
    class HorovodInternalError(RuntimeError):
        pass
    while not os.path.exists("another-is-gone"):
        time.sleep(0.005)
    raise HorovodInternalError("a peer has gone")

def run(config):
    here = hpcsearch.world()
    open(f"rank-{here.rank}-{hpcsearch.evaluation().id}", "w").write(str(os.getpid()))
    hpcsearch.report(step=here.rank, rank=here.rank)
    what = config.get(str(here.rank), "")
    if what == "raise":
        raise ValueError("no luck")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "nap":
        time.sleep(600)
    if what == "peer":
        horovods_way_to_tell(config)
    if what == "stop":
        raise hpcsearch.Stopped()
    if what == "look":
        while not hpcsearch.should_stop():
            time.sleep(0.005)
        return -1.0
    if what == "text":
        return "anything"
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "TF_CONFIG")
    return {
        "objective": 10.0 + here.rank, "rank": here.rank, "size": here.size, "hosts": here.hosts,
        "environment": {name: os.environ[name] for name in names if name in os.environ},
    }
"""


class Told:
    """What a driver would be told."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.lost: dict[str, str] = {}
        self.begun: list[int] = []
        self.ends: dict[int, Ended] = {}
        self.back: list[int] = []
        self.reports: list[tuple[int, float | None]] = []

    def node_up(self, name: str, _facts: Mapping[str, Any], _slots: int) -> None:
        self.up.append(name)

    def node_lost(self, name: str, reason: str) -> None:
        self.lost[name] = reason

    def started(self, evaluation: Evaluation, _placement: Placement, _at: float) -> None:
        self.begun.append(evaluation.id)

    def ended(self, evaluation: Evaluation, _placement: Placement, end: Ended) -> None:
        assert evaluation.id in self.begun, "it ended before it began"
        self.ends[evaluation.id] = end

    def recalled(self, evaluation: Evaluation, _placement: Placement) -> None:
        self.back.append(evaluation.id)

    def reported(self, evaluation: Evaluation, step: float | None, _at: float, _metrics: Mapping[str, Any]) -> None:
        self.reports.append((evaluation.id, step))

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Bed:
    """Two agents, and the executor over them."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        (folder / "model.py").write_text(MODEL)
        values = {
            "workflow": "w",
            "directory": str(folder),
            "allocation": 1,
            "site": "local",
            "run": f"{folder}/model.py:run",
            "names": (),
            "cwd": str(folder),
            "job_mode": "serial",
            "nodes": 2,
            "walltime_s": 600.0,
            "data_parallel": "torch",
            "nodes_per_eval": 2,
            "bind": False,
            **changes,
        }
        self.folder, self.loop, self.told = folder, Loop(), Told()
        plan = Plan(**values)
        self.agents = Agents(self.loop, plan, [Host(name) for name in HOSTS], 600.0, self.told)
        self.ranks = RanksExecutor(self.loop, plan, self.agents, self.told)
        self.until(lambda: len(self.told.up) == 2)

    def until(self, reached: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LIMIT_S
        self.loop.call_later(LIMIT_S, lambda: None)
        while not reached():
            assert time.monotonic() < end_s, f"it did not come: {vars(self.told)}"
            self.loop.turn()

    def start(self, config: dict[str, str], identity: int = 1, ranks_per_node: int = 1, attempt: int = 1) -> None:
        evaluation = Evaluation(identity, config, attempt, resources=Resources(2, ranks_per_node))
        self.ranks.start(evaluation, Placement("n1", 0, (Placement("n2", 0),)))

    def run(self, config: dict[str, str], identity: int = 1, ranks_per_node: int = 1) -> Ended:
        self.start(config, identity, ranks_per_node)
        self.until(lambda: identity in self.told.ends)
        assert self.all_free(), "what it left of its ranks"
        return self.told.ends[identity]

    def limits(self, **limits: float) -> None:
        self.ranks._limits = dataclasses.replace(self.ranks._limits, **limits)

    def await_ranks(self, count: int = 2, identity: int = 1) -> list[int]:
        """The processes of an evaluation's ranks, when all have begun."""
        files = [self.folder / f"rank-{rank}-{identity}" for rank in range(count)]
        self.until(lambda: all(file.exists() and file.read_text() for file in files))
        return [int(file.read_text()) for file in files]

    def agents_pids(self) -> dict[str, int]:
        return {name: agent.peer.process.pid for name, agent in self.agents._agents.items() if agent.peer}

    def all_free(self) -> bool:
        return not any(descendants(pid) for pid in self.agents_pids().values())


Make = Callable[..., Bed]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(ranks, "is_own_alone", lambda _address: False)  # both nodes are this machine
    beds: list[Bed] = []

    def bed(**changes: Any) -> Bed:
        beds.append(Bed(tmp_path, **changes))
        return beds[-1]

    yield bed
    for each in beds:
        each.agents.close()


@pytest.fixture
def bed(make: Make) -> Bed:
    return make()


def failure_of(end: Ended) -> tuple[str, str]:
    assert end.failure is not None
    return end.failure["kind"], end.failure["message"]


def test_the_chiefs_value_is_the_objective_and_only_its_reports_count(bed: Bed) -> None:
    end = bed.run({"1": "text"})
    assert (end.state, end.objective, end.failure) == (State.FINISHED, 10.0, None)
    assert end.metadata is not None
    assert (end.metadata["rank"], end.metadata["size"], end.metadata["hosts"]) == (0, 2, ["n1", "n2"])
    assert end.metadata["environment"]["WORLD_SIZE"] == "2" and int(end.metadata["environment"]["MASTER_PORT"]) > 0
    assert bed.told.reports == [(1, 0)]
    assert bed.told.begun == [1]
    assert (bed.folder / "evaluations" / "1").exists() is False, "nothing was printed"


def test_several_at_once_and_several_ranks_on_a_node(bed: Bed) -> None:
    for identity in (1, 2, 3):
        bed.start({}, identity, ranks_per_node=2)
    bed.until(lambda: len(bed.told.ends) == 3)
    assert {end.state for end in bed.told.ends.values()} == {State.FINISHED}
    ports = {end.metadata["environment"]["MASTER_PORT"] for end in bed.told.ends.values() if end.metadata}
    assert len(ports) == 3


def test_one_that_raises_ends_the_others_and_is_named(bed: Bed) -> None:
    end = bed.run({"0": "nap", "1": "raise"})
    assert end.state is State.FAILED
    assert failure_of(end) == ("ValueError", "rank 1 on n2: no luck")
    assert end.failure is not None and "raise ValueError" in end.failure["traceback"]
    assert bed.run({}, identity=2).state is State.FINISHED, "the nodes are used again"


def test_one_that_is_killed_is_the_reason_and_not_what_its_peers_say_of_it(bed: Bed) -> None:
    bed.start({"0": "peer", "1": "nap"})
    victim = bed.await_ranks()[1]
    (bed.folder / "another-is-gone").touch()
    bed.until(lambda: bed.ranks._sets[1]._suspect is not None)
    os.kill(victim, signal.SIGKILL)
    bed.until(lambda: 1 in bed.told.ends)
    end = bed.told.ends[1]
    assert failure_of(end) == ("SIGKILL", "rank 1 on n2: its process was killed by signal 9 (SIGKILL)")
    assert end.killed_by == signal.SIGKILL


def test_a_peer_that_says_another_has_gone_while_none_has(bed: Bed) -> None:
    (bed.folder / "another-is-gone").touch()
    end = bed.run({"0": "peer", "1": "nap"})
    assert failure_of(end) == (
        "HorovodInternalError",
        "rank 0 on n1: a peer has gone; rank 1 on n2 had not ended: it may have been stopped, or hang",
    )


def test_a_peers_error_counts_although_the_chief_has_returned(bed: Bed) -> None:
    (bed.folder / "another-is-gone").touch()
    end = bed.run({"1": "peer"})
    assert (end.state, failure_of(end)) == (State.FAILED, ("HorovodInternalError", "rank 1 on n2: a peer has gone"))


def test_a_rank_that_never_begins(bed: Bed) -> None:
    bed.limits(begin_s=0.5)
    (bed.folder / "stay-out-1").touch()
    end = bed.run({"0": "nap"})
    assert (end.state, failure_of(end)) == (
        State.FAILED,
        ("RankMissing", "rank 1 on n2 did not begin within 0.5 s of the first one"),
    )


def test_none_begins(bed: Bed) -> None:
    bed.limits(start_s=0.5)
    for rank in (0, 1):
        (bed.folder / f"stay-out-{rank}").touch()
    assert failure_of(bed.run({})) == ("RankMissing", "rank 0 on n1, rank 1 on n2 did not begin within 0.5 s")


def test_a_hang_is_ended_by_the_time_limit(make: Make) -> None:
    bed = make(eval_timeout_s=0.5)
    end = bed.run({"0": "nap", "1": "text"})
    assert end.state is State.TIMED_OUT
    assert failure_of(end)[1] == "it ran longer than its time limit of 0.5 s; rank 0 on n1 had not ended"


def test_a_run_function_that_cannot_be_loaded(bed: Bed) -> None:
    (bed.folder / "model.py").write_text("import no_such_module")
    end = bed.run({})
    assert end.state is State.FAILED and "no_such_module" in failure_of(end)[1]


def test_a_chief_that_is_stopped_ends_all(bed: Bed) -> None:
    end = bed.run({"0": "stop", "1": "nap"})
    assert (end.state, failure_of(end)[0]) == (State.STOPPED, "Stopped")


def test_the_chief_learns_that_it_is_to_stop(bed: Bed) -> None:
    bed.start({"0": "look"})
    bed.until(lambda: bed.told.begun == [1] and bed.told.reports == [(1, 0)])  # a later report would raise Stopped
    bed.ranks.stop([1], State.STOPPED)
    bed.until(lambda: 1 in bed.told.ends)
    end = bed.told.ends[1]
    assert (end.state, end.objective) == (State.STOPPED, -1.0)


def test_all_ranks_may_stop_in_the_same_step(bed: Bed) -> None:
    assert bed.run({"0": "stop", "1": "stop"}).state is State.STOPPED


def test_a_node_that_is_lost(bed: Bed) -> None:
    bed.start({"0": "nap", "1": "nap"})
    pids = bed.await_ranks()
    bed.until(lambda: bed.told.begun == [1])
    os.kill(bed.agents_pids()["n2"], signal.SIGKILL)
    bed.until(lambda: 1 in bed.told.ends)
    assert bed.told.ends[1].state is State.LOST and "node n2 was lost" in failure_of(bed.told.ends[1])[1]
    bed.until(lambda: not any(alive(pid) for pid in pids))
    bed.until(lambda: len(bed.told.up) == 3)
    bed.start({}, attempt=2)
    del bed.told.ends[1]
    bed.until(lambda: 1 in bed.told.ends)
    assert bed.told.ends[1].state is State.FINISHED


def test_what_is_killed_ends_as_it_is_told_and_goes_back_if_it_has_not_begun(bed: Bed) -> None:
    bed.start({"0": "nap", "1": "nap"})
    bed.until(lambda: bed.told.begun == [1])
    bed.ranks.kill([1], State.INTERRUPTED)
    bed.until(lambda: 1 in bed.told.ends)
    assert bed.told.ends[1].state is State.INTERRUPTED
    (bed.folder / "stay-out-1").touch()
    bed.start({"0": "nap"}, identity=2)
    bed.await_ranks(1, identity=2)
    bed.ranks.recall([2])
    bed.until(lambda: bed.told.back == [2])
    assert bed.told.begun == [1] and bed.all_free()


def test_parameter_servers_are_ended_when_the_workers_are_done(make: Make) -> None:
    bed = make(data_parallel="tensorflow", num_ps=1)
    end = bed.run({"0": "nap"}, ranks_per_node=2)
    assert (end.state, end.objective) == (State.FINISHED, 11.0)


def test_more_ranks_than_cpus(make: Make) -> None:
    bed = make(bind=True)
    end = bed.run({}, ranks_per_node=1000)
    assert failure_of(end)[0] == "TooManyRanks" and "1000 ranks on one node" in failure_of(end)[1]


def test_a_node_whose_name_means_itself_alone_is_given_up(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    evaluation = Evaluation(1, {}, 1, resources=Resources(2, 1))
    bed.ranks.start(evaluation, Placement("n1", 0, (Placement("n2", 0),)))
    bed.ranks._prepared("n2", 1, 1, "127.0.1.1", [])
    assert "its own host name means 127.0.1.1" in bed.told.lost["n2"]
    assert bed.told.back == [1], "the evaluation goes elsewhere"


def test_limits_are_those_of_the_plan(make: Make) -> None:
    assert make(eval_timeout_s=5.0).ranks._limits == Limits(5.0)
