"""What is to be run next, and what the search's process knows of it."""

from __future__ import annotations

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

    def __init__(self, _loop: Any, _argv: Any, says: Callable[[Mapping[str, Any]], None], _on_end: Any) -> None:
        self.says = says
        self.sent: list[Mapping[str, Any]] = []
        started.append(self)

    def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

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


@pytest.mark.parametrize("told_before", [0, 1, 2])
def test_spares_that_are_used_before_the_search_is_up_are_known_to_it(
    monkeypatch: pytest.MonkeyPatch, told_before: int
) -> None:
    """Whether they are used before the past was told, or after it."""
    started.clear()
    monkeypatch.setattr(proposals, "Peer", SearchProcess)
    spares = tuple({"x": number} for number in range(1, 61))
    plan = Plan("poly", "/x", 1, "slurm", "run", ("x",), "/x", "serial", 2, 60.0, spares=spares)
    records = Records()
    loop: Any = None
    recording: Any = records
    supply = Supply(loop, plan, recording, WORKFLOW, [Evaluation(1, {"x": 0})], True, lambda _reason: None)
    for turn in range(3):
        supply.replenish(Demand(slots=8, free=8 * turn, busy=1, median_s=0.1, room=1000.0))
        if turn == told_before:
            supply.history([], True, [])
    (process,) = started
    known = process.pending
    process.says(READY)
    assert len(records.claims) > 16 and known == [{"x": 0}, *records.claims]
