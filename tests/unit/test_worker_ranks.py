"""A real agent that is told to run ranks, by a test in the driver's place."""

from __future__ import annotations

import dataclasses
import http.client
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from process_bed import alive
from test_worker_agent import Node, all_gone

from hpcsearch.evaluation import State
from hpcsearch.worker import processes, protocol

MODEL = """\
import os, signal, socket, sys, time
import hpcsearch

def run(config):
    here = hpcsearch.world()
    print("this is", here.rank)
    hpcsearch.report(step=here.rank, rank=here.rank)
    what = config.get("what", {}).get(str(here.rank))
    if what == "raise":
        raise ValueError("no luck")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "nap":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
        time.sleep(600)
    if what == "nothing":
        return None
    if what == "listen":
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((os.environ["AT"], int(os.environ["PORT"])))
            server.listen()
        return 2.0
    return {
        "objective": 1.0, "world": [here.rank, here.size, here.local_rank, here.local_size, here.node_rank],
        "hosts": here.hosts, "mine": os.environ["MINE"], "cpus": sorted(os.sched_getaffinity(0)),
        "threads": os.environ["OMP_NUM_THREADS"], "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
        "own": hpcsearch.num_gpus(), "id": hpcsearch.evaluation().id,
    }
"""


class Ranked(Node):
    """An agent without slots."""

    def prepare(
        self, evaluation: int = 1, ports: int = 0, hosts: list[list[Any]] | None = None
    ) -> tuple[str, list[int]]:
        self.tell(op=protocol.PREPARE, orders={"evaluation": evaluation, "attempt": 1, "ports": ports, "hosts": hosts})
        self.until(lambda: any(event[1] == evaluation for event in self.of(protocol.PREPARED)))
        _, _, _, address, free = self.of(protocol.PREPARED)[-1]
        return address, free

    def start(self, count: int, evaluation: int = 1, chief: int = 0, first: int = 0, **changes: Any) -> None:
        cpus = sorted(os.sched_getaffinity(0))
        ranks = [
            protocol.Rank(
                first + number,
                number,
                protocol.Share((cpus[number % len(cpus)],), 1, ("4", "5"), True),
                {"MINE": str(number), "HPCSEARCH_OWN_GPUS": str(4 + number), **changes.get("environment", {})},
            )
            for number in range(count)
        ]
        orders = protocol.RankOrders(
            evaluation=evaluation,
            attempt=1,
            configuration=changes.get("config", {}),
            hosts=["n0", "n1"],
            size=first + count,
            node_rank=1,
            chief=chief,
            ranks=[dataclasses.asdict(rank) for rank in ranks],
        )
        self.tell(op=protocol.START_RANKS, orders=dataclasses.asdict(orders))

    def gone(self, count: int) -> dict[int, tuple[dict[str, str] | None, int | None]]:
        """How the ranks' processes have ended: failure and signal by rank."""
        return {event[3]: (event[4], event[5]) for event in self.wait_for(protocol.RANK_GONE, count)}

    def results(self) -> dict[int, list[Any]]:
        """State, start, end, duration, objective, metadata and failure by rank."""
        return {event[3]: event[4:] for event in self.of(protocol.RANK_ENDED)}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Ranked]:
    (tmp_path / "model.py").write_text(MODEL)
    made = Ranked(tmp_path)
    made.set_up(slots=0, output_limit_bytes=10_000)
    yield made
    below = made.below()
    made.close()
    assert not any(alive(pid) for pid in below), "the agent left processes behind"
    assert "Traceback" not in made.log()


def test_ranks_know_their_place_and_have_their_part_of_the_node(node: Ranked) -> None:
    node.start(2, evaluation=7, first=2)
    assert node.gone(2) == {2: (None, None), 3: (None, None)}
    cpus = sorted(os.sched_getaffinity(0))
    for rank in (2, 3):
        state, _, _, _, objective, metadata, failure = node.results()[rank]
        assert (state, failure) == (State.FINISHED, None)
        assert objective == 0.0 and metadata is None  # neither is the chief
    node.start(2, evaluation=8, chief=2, first=2)
    node.gone(4)
    metadata = node.results()[2][5]
    assert metadata == {
        "world": [2, 4, 0, 2, 1],
        "hosts": ["n0", "n1"],
        "mine": "0",
        "cpus": [cpus[0]],
        "threads": "1",
        "gpus": "4,5",
        "own": 1,
        "id": 8,
    }
    begun = [(event[1], event[3]) for event in node.of(protocol.RANK_BEGUN)]
    assert sorted(begun) == [(7, 2), (7, 3), (8, 2), (8, 3)]


def test_the_chiefs_reports_and_output_are_the_evaluations(node: Ranked, tmp_path: Path) -> None:
    node.start(2)
    node.gone(2)
    assert [event[5] for event in node.of(protocol.RANK_REPORT)] == [{"rank": 0}]
    assert node.evaluation_log(1) == b"this is 0\n"
    assert (tmp_path / "evaluations" / "1" / "log.rank1").read_bytes() == b"this is 1\n"


def test_another_rank_may_return_anything_the_chief_may_not(node: Ranked) -> None:
    node.start(2, config={"what": {"0": "nothing", "1": "nothing"}})
    node.gone(2)
    assert {rank: end[0] for rank, end in node.results().items()} == {0: State.FAILED, 1: State.FINISHED}


def test_a_rank_that_fails_tells_why_and_the_others_go_on(node: Ranked) -> None:
    node.start(3, config={"what": {"0": "nap", "1": "raise", "2": "die"}})
    gone = node.gone(2)
    assert gone[1] == (None, None)
    failure, killed_by = gone[2]
    assert failure is not None and failure["kind"] == "SIGKILL" and killed_by == signal.SIGKILL
    assert node.results()[1][6]["message"] == "no luck" and "raise ValueError" in node.results()[1][6]["traceback"]
    assert 0 not in gone


def test_ranks_are_ended_with_all_that_they_have_started(node: Ranked) -> None:
    node.start(2, config={"what": {"0": "nap", "1": "nap"}})
    below = node.wait_below(6)  # each rank, and two that it has set apart from itself
    node.start(1, evaluation=2, config={"what": {"0": "nap"}})
    node.until(lambda: len(node.of(protocol.RANK_BEGUN)) == 3)
    node.tell(op=protocol.END_RANKS, evaluation=1)
    gone = node.gone(2)
    assert gone.keys() == {0, 1} and {killed_by for _, killed_by in gone.values()} == {None}
    all_gone(below)
    assert len(node.of(protocol.RANK_GONE)) == 2, "the other evaluation's rank lives"


def test_a_rank_listens_where_a_port_was_kept_for_it_and_nobody_else_does(node: Ranked) -> None:
    address, (port, other) = node.prepare(ports=2)
    with socket.socket() as intruder, pytest.raises(OSError):
        intruder.bind((address, port))
    node.start(1, config={"what": {"0": "listen"}}, environment={"AT": address, "PORT": str(port)})
    node.gone(1)
    assert node.results()[0][4] == 2.0
    node.tell(op=protocol.END_RANKS, evaluation=1)
    node.prepare(evaluation=2)
    for free in (port, other):
        with socket.socket() as anybody:
            anybody.bind((address, free))


def test_a_run_function_that_cannot_be_loaded(node: Ranked, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import no_such_module")
    node.start(1)
    assert node.gone(1) == {0: (None, None)}
    state, *_, failure = node.results()[0]
    assert state == State.FAILED and "no_such_module" in failure["message"]


@pytest.mark.horovod
def test_horovods_ranks_meet_at_a_server_that_ends_with_the_evaluation(node: Ranked) -> None:
    address, ports = node.prepare(hosts=[["n0", 1], ["n1", 1]])
    (server,) = node.wait_below(1)
    connection = http.client.HTTPConnection(address, ports[-1], timeout=60)
    connection.request("PUT", "/global/0", b"here I am")
    assert connection.getresponse().status == 200
    connection = http.client.HTTPConnection(address, ports[-1], timeout=60)
    connection.request("GET", "/global/0")
    assert connection.getresponse().read() == b"here I am"
    node.tell(op=protocol.END_RANKS, evaluation=1)
    all_gone([server])
    assert not node.of(protocol.UNPREPARED)


@pytest.mark.horovod
def test_a_server_that_cannot_serve_is_told(node: Ranked) -> None:
    node.prepare(hosts=[["n0", "many"]])
    ((_, evaluation, attempt, failure),) = node.wait_for(protocol.UNPREPARED)
    assert (evaluation, attempt) == (1, 1)
    assert failure["kind"] == "RendezvousError" and "TypeError" in failure["message"]


def test_ranks_end_with_their_agent(node: Ranked) -> None:
    node.start(1, config={"what": {"0": "nap"}})
    below = node.wait_below(3)
    try:
        node.process.kill()
        all_gone(below[:1])
    finally:  # what a rank has set apart from itself outlives an agent that nobody could end in order
        for pid in below:
            processes.send(pid, signal.SIGKILL)
        all_gone(below)


@pytest.mark.horovod
def test_the_server_where_ranks_meet_ends_with_its_agent(node: Ranked) -> None:
    address, ports = node.prepare(hosts=[["n0", 1]])
    (server,) = node.wait_below(1)
    socket.create_connection((address, ports[-1]), 60.0).close()
    node.process.kill()
    all_gone([server])
