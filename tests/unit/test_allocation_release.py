"""Giving nodes back from inside an allocation: together, once nothing is left on them, and when it is worth it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.release import GATHER_S, Release
from hpcsearch.allocation.tail import better_later

#: Stands for the process that asks the scheduler: it takes everything back, and writes down what it was asked.
RELEASER = """
import json, sys
print(json.dumps({"once": ONCE, "dead_too": not ONCE}), flush=True)
for line in sys.stdin:
    open(sys.argv[1] + "/asked", "a").write(line)
    print(json.dumps({"released": True, "again": False, "sentence": "", "environment": {}}), flush=True)
"""


class Bed:
    """A release of four nodes, the first of which is the driver's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, once: bool) -> None:
        script = folder / "releaser.py"
        script.write_text(RELEASER.replace("ONCE", str(once)))
        self.loop = Loop()
        self.asked = folder / "asked"
        self.emptied: list[str] = []
        self.gone: list[str] = []
        self.release = Release(
            self.loop,
            folder,
            "7",
            ["n1", "n2", "n3", "n4"],
            lambda nodes: self.emptied.extend(nodes),
            lambda nodes, at: self.gone.extend(nodes),
        )
        monkeypatch.setattr(self.release, "_argv", [sys.executable, str(script), str(folder)])

    def turn(self, idle: list[str], until: Callable[[], object], wait: bool = False) -> None:
        """Offers as the driver does, until something is so."""
        while not until():
            self.release.offer(idle, lambda: wait)
            self.loop.call_later(0.05, lambda: None)
            self.loop.turn()

    def for_a_while(self, idle: list[str], wait: bool = False) -> None:
        end_s = time.monotonic() + 2 * GATHER_S
        self.turn(idle, lambda: time.monotonic() > end_s, wait)


@pytest.fixture
def make_bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], Bed]]:
    beds: list[Bed] = []

    def make(once: bool) -> Bed:
        beds.append(Bed(tmp_path, monkeypatch, once))
        return beds[-1]

    yield make
    for bed in beds:
        bed.release.close()


def test_nodes_go_once_they_are_empty(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(False)
    bed.turn(["n2", "n4"], lambda: bed.emptied)
    assert bed.emptied == ["n2", "n4"]
    bed.release.emptied("n2")
    bed.for_a_while(["n2", "n4"])
    assert not bed.asked.exists(), "the scheduler was asked while something ran there"
    bed.release.emptied("n4")
    bed.turn([], lambda: bed.gone)
    assert bed.gone == ["n2", "n4"]
    assert bed.asked.read_text() == '{"keep":["n1","n3"],"leave":["n2","n4"]}\n'


def test_where_nodes_go_once_they_wait_for_others(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(True)
    bed.for_a_while(["n2"], wait=True)
    assert not bed.emptied
    bed.turn(["n2", "n3"], lambda: bed.emptied)
    assert bed.emptied == ["n2", "n3"]


def test_a_node_that_was_set_aside_goes_alone_where_it_can(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(False)
    bed.release.set_aside("n3")
    bed.for_a_while([])
    assert not bed.asked.exists(), "something still ran there"
    bed.release.emptied("n3")
    bed.turn([], lambda: bed.gone)
    assert bed.gone == ["n3"] and not bed.emptied


def test_a_node_that_was_set_aside_goes_with_others_where_nodes_go_once(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(True)
    bed.release.set_aside("n3")
    bed.release.emptied("n3")
    bed.for_a_while([])
    assert not bed.asked.exists()
    bed.turn(["n2"], lambda: bed.emptied)
    bed.release.emptied("n2")
    bed.turn([], lambda: bed.gone)
    assert bed.gone == ["n2", "n3"]


def test_a_node_that_died_is_given_back_where_the_job_would_be_ended_over_it(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(False)
    bed.release.lost("n3")
    bed.turn([], bed.asked.exists)
    assert bed.asked.read_text() == '{"keep":["n1","n2","n4"],"leave":["n3"]}\n'
    bed.turn(["n2"], lambda: bed.emptied)
    bed.release.emptied("n2")
    bed.turn([], lambda: bed.gone)
    assert bed.gone == ["n2"], "a node that died was not released"
    assert bed.asked.read_text().splitlines()[1:] == ['{"keep":["n1","n4"],"leave":["n2"]}']


def test_a_node_that_died_is_no_change_where_the_scheduler_knows(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(True)
    bed.release.lost("n3")
    bed.for_a_while([])
    assert not bed.asked.exists()
    bed.turn(["n2"], lambda: bed.emptied)
    bed.release.lost("n2")
    bed.turn([], bed.asked.exists)
    assert bed.asked.read_text() == '{"keep":["n1","n4"],"leave":["n2"]}\n'
    assert not bed.gone


def test_the_first_node_stays_even_when_it_is_set_aside(make_bed: Callable[[bool], Bed]) -> None:
    bed = make_bed(False)
    bed.release.set_aside("n1")
    bed.release.emptied("n1")
    bed.for_a_while([])
    assert not bed.asked.exists()


@pytest.mark.parametrize(
    ("idle", "others_s", "end_s", "later"),
    [
        (3, [], 100.0, False),  # no more will come
        (1, [1.0, 1.0], 100.0, True),  # two more in a moment
        (1, [99.0], 100.0, False),  # the next one comes when it is nearly over
        (2, [40.0, 50.0], 100.0, False),  # 200 node-seconds now; 180 and 200 later
        (2, [30.0, 50.0], 100.0, True),  # 210 with the next one
        (1, [100.0], 100.0, False),  # the last one ends the search
    ],
)
def test_what_is_worth_more(idle: int, others_s: list[float], end_s: float, later: bool) -> None:
    assert better_later(idle, others_s, end_s) is later
