"""What is to be run next, and what the search's process knows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hpcsearch.allocation import proposals
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.supply import Demand, Supply
from hpcsearch.evaluation import Configuration, Evaluation

READY = {"op": "ready", "names": ["x"], "minimize": False}


class SearchProcess:
    """Keeps what it is sent."""

    def __init__(
        self, _loop: Any, _argv: Any, says: Callable[[Mapping[str, Any]], None], dies: Callable[[], None], *_: Any
    ) -> None:
        self.says, self.dies = says, dies
        self.sent: list[Mapping[str, Any]] = []
        started.append(self)

    def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    def stop(self, patience_s: float) -> int:
        return -9

    @property
    def pending(self) -> list[Configuration]:
        return [one for message in self.sent if message["op"] == "pending" for one in message["configurations"]]


started: list[SearchProcess] = []


class Records:
    """Answers nothing: what is claimed stays so."""

    settled = True
    unsettled = ()

    def __init__(self) -> None:
        self.claims: list[Configuration] = []

    def propose(self, configurations: list[Configuration]) -> None:
        self.claims += configurations

    def ask_history(self) -> None: ...
    def learned(self, *_: Any) -> None: ...


WORKFLOW = {
    "max_evals": None,
    "claimed": 0,
    "seed": None,
    "problem": "problem.py",
    "cwd": "/x",
    "search": "grid",
    "search_arguments": "{}",
}


class Bench:
    """A supply of one evaluation that waits and of 60 spares, of a search that proposes nothing by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started.clear()
        monkeypatch.setattr(proposals, "Peer", SearchProcess)
        spares = tuple({"x": number} for number in range(1, 61))
        plan = Plan("poly", "/x", 1, "slurm", "run", ("x",), "/x", "serial", 2, 60.0, spares=spares)
        self.records = Records()
        loop: Any = None
        recording: Any = self.records
        waiting = [Evaluation(1, {"x": 0})]
        self.supply = Supply(loop, plan, recording, WORKFLOW, waiting, True, lambda _reason: None, lambda *_: None)

    def replenish(self, free: int) -> list[Configuration]:
        """Short evaluations and so many slots with nothing to do; gives what was claimed so far."""
        self.supply.replenish(Demand(slots=8, free=free, busy=1, median_s=0.1, room=1000.0))
        return self.records.claims

    def tell_past(self) -> None:
        self.supply.history([], True, [])


@pytest.mark.parametrize("told_before", [0, 1, 2])
def test_spares_that_are_used_before_the_search_is_up_are_known_to_it(
    monkeypatch: pytest.MonkeyPatch, told_before: int
) -> None:
    """Whether they are used before the past was told, or after it."""
    bench = Bench(monkeypatch)
    for turn in range(3):
        claims = bench.replenish(8 * turn)
        if turn == told_before:
            bench.tell_past()
    (process,) = started
    assert len(claims) > 16 and process.pending == [{"x": 0}, *claims]


def test_a_search_that_has_been_asked_proposes_the_spares_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they are not used while it is started again."""
    bench = Bench(monkeypatch)
    count = len(bench.replenish(8))
    bench.tell_past()
    started[0].says(READY)
    assert len(bench.replenish(24)) == count and started[0].sent[-1]["op"] == "ask"
    started[0].dies()
    assert len(started) == 2 and len(bench.replenish(24)) == count


def test_a_search_that_waits_for_results_is_asked_again_when_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    supply = bench.supply
    busy, idle = (Demand(slots=8, free=8, busy=count, median_s=5.0, room=1000.0) for count in (1, 0))
    supply.take()
    supply.replenish(dataclasses.replace(busy, free=0))  # no spares are used
    bench.tell_past()
    (process,) = started
    process.says(READY)

    def asked() -> int:
        return sum(message["op"] == "ask" for message in process.sent)

    supply.replenish(busy)
    assert asked() == 1
    process.says({"op": "proposed", "configurations": [], "exhausted": False})
    supply.replenish(busy)
    assert asked() == 1 and not supply.end  # it has said that it has nothing before something ends
    supply.committed([({"x": 0}, 1.0)])
    supply.replenish(busy)
    assert asked() == 2
    process.says({"op": "proposed", "configurations": [], "exhausted": False})
    supply.replenish(idle)
    assert asked() == 2 and "has been evaluated" in supply.end  # nothing will ever end: nor will it propose
