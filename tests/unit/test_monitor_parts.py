"""The parts of the terminal view that are computed: pace and end, the plot, nodes and slots, the table."""

from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.evaluation import State
from hpcsearch.monitor import evaluations, occupancy, panels
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.monitor.nodes import NodeView
from hpcsearch.monitor.pace import per_minute, until_spent
from hpcsearch.monitor.plot import best_so_far, plot
from hpcsearch.monitor.snapshot import Snapshot
from hpcsearch.monitor.tally import Seen, Tally
from hpcsearch.monitor.watch import Picture

# ---- pace and end


@pytest.mark.parametrize(
    ("ends", "now", "began_at", "expected"),
    [
        ([], 100.0, 0.0, 0.0),
        ([], 0.5, 0.0, None),  # it has just begun
        ([60.0 * n for n in range(1, 61)], 3600.0, 0.0, 1.0),
        ([1.0 * n for n in range(1, 3601)], 3600.0, 0.0, 60.0),
        ([-5.0, -4.0, 50.0], 100.0, 0.0, 0.6),  # what ended before it began is not counted
    ],
)
def test_the_pace(ends: list[float], now: float, began_at: float, expected: float | None) -> None:
    rate = per_minute(ends, now, began_at)
    assert rate == (None if expected is None else pytest.approx(expected, rel=0.12))


def test_few_ends_tell_nothing_of_the_others() -> None:
    assert until_spent(10, [1.0, 2.0, 3.0, 4.0], 5.0, 0.0) is None
    assert until_spent(10, [-3.0, -2.0, -1.0, 1.0, 2.0], 5.0, 0.0) is None
    assert until_spent(10, [1.0, 2.0, 3.0, 4.0, 5.0], 5.0, 0.0) is not None


@pytest.mark.parametrize("seen", [10, 50, 200, 390])
def test_the_range_of_the_end_holds_what_happens(seen: int) -> None:
    """Ends at random, at a constant rate: the last one is where the range says in at least 95 of 100 searches."""
    inside = 0
    for seed in range(200):
        draw, at = random.Random(seed), 0.0
        ends = [at := at + draw.expovariate(1.0) for _ in range(400)]
        span = until_spent(400 - seen, ends[:seen], ends[seen - 1], 0.0)
        assert span is not None
        inside += span.low_s < ends[-1] - ends[seen - 1] < span.high_s
    assert inside >= 190


def test_a_search_that_has_become_slow_widens_it() -> None:
    steady = until_spent(100, [float(n) for n in range(1, 101)], 100.0, 0.0)
    slower = until_spent(100, [float(n) for n in range(1, 101)], 1000.0, 0.0)
    assert steady and slower and slower.high_s > 5 * steady.high_s


# ---- the plot

RESULTS = st.lists(st.tuples(st.floats(1e9, 2e9), st.floats(-1e6, 1e6)), min_size=1, max_size=60).map(sorted)


@given(RESULTS, st.booleans(), st.integers(1, 120), st.integers(1, 20))
def test_a_plot_fits_its_place(results: Any, minimize: bool, width: int, height: int) -> None:
    lines = plot(results, minimize, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_a_plot_shows_the_best_and_when() -> None:
    lines = plot([(60.0 * n, float(n)) for n in range(10)], False, 60, 8)
    assert lines[0].split()[0] == "9"
    assert lines[-1].split() == [time.strftime("%H:%M", time.localtime(at)) for at in (0.0, 540.0)]
    falling = plot([(60.0 * n, -float(n)) for n in range(10)], False, 60, 8)
    assert "⠀" not in falling[0]  # the line of the best is on the canvas, from the first to the last
    assert plot([], False, 60, 8) == ["no result yet"]
    assert plot([(1.0, 2.0)], True, 5, 8) == []


def test_the_best_so_far() -> None:
    results = [(1.0, 3.0), (2.0, 5.0), (3.0, 4.0), (4.0, 1.0)]
    assert best_so_far(results, minimize=False) == [(1.0, 3.0), (2.0, 5.0)]
    assert best_so_far(results, minimize=True) == [(1.0, 3.0), (4.0, 1.0)]


# ---- a picture

NOW = 1_000_000.0
NODE = NodeView(1, "n1", "up", 2, 4, 0, 2.0, None, 10.0, 0.0, 0.0, "")
RUNNING = AllocationView(
    *(1, "cluster", "slurm", "77", "batch", "lab", 2, 3600.0, "serial", 1.0, NOW - 600, NOW + 3000, None),
    *(Standing.RUNNING, "It runs.", 3000.0, True),
)


def picture(*some: Seen, minimize: bool = False, **changes: Any) -> Picture:
    tally = Tally(minimize)
    for one in some:
        tally.put(one)
    values: dict[str, Any] = {
        "name": "poly",
        "directory": Path("/w/poly"),
        "taken_at": NOW,
        "created_at": 1.0,
        "started_at": 2.0,
        "finished_at": None,
        "outcome": "",
        "search": "ambs",
        "minimize": minimize,
        "max_evals": 50,
        "max_success": None,
        "names": ("lr",),
        "settings": {},
        "slots": 4,
        "slots_busy": 0,
        "best": None,
        "counts": {},
        "allocations": (RUNNING,),
        "nodes": (NODE,),
        **changes,
    }
    return Picture(Snapshot(**values), tally)


def finished(identity: int, objective: float, **more: Any) -> Seen:
    at = NOW - 600 + 10 * identity
    ends = {"gathered_at": at, "ended_at": at, "started_at": at - 5, "duration_s": 5.0}
    return Seen(identity, {"lr": identity / 10}, State.FINISHED, objective, **{**ends, **more})


def runs(identity: int, *nodes: str, **more: Any) -> Seen:
    return Seen(identity, {}, State.RUNNING, attempt=1, allocation=1, nodes=nodes, slot=0, started_at=NOW, **more)


# ---- nodes and slots


def test_an_evaluation_on_several_nodes_takes_all_slots_of_each() -> None:
    names = ("n2", "n3", "n4")
    nodes = (NODE, *(dataclasses.replace(NODE, name=name) for name in names))
    back = dataclasses.replace(NODE, name="n5", state="given back")
    seen = picture(runs(1, "n1"), runs(2, "n2", "n3"), nodes=(*nodes, back))
    slots = {node.name: (node.busy, node.idle) for node in occupancy.node_slots(seen)}
    assert slots == {"n1": (1, 1), "n2": (2, 0), "n3": (2, 0), "n4": (0, 2), "n5": (0, 0)}
    assert occupancy.summary(occupancy.node_slots(seen)) == "4 up, 1 given back: 5 of 8 slots busy"


def test_nodes_to_look_at_come_first_and_the_others_are_counted() -> None:
    lost = dataclasses.replace(NODE, name="n9", state="lost", reason="silent")
    many = tuple(dataclasses.replace(NODE, name=f"m{number}") for number in range(20))
    lines = occupancy.node_lines(occupancy.node_slots(picture(nodes=(*many, lost))), 40, 6)
    assert lines[1] == "n9  lost: silent"
    assert lines[-1] == "and 17 more" and len(lines) == 6


def test_nodes_of_a_dead_allocation_are_gone() -> None:
    dead = dataclasses.replace(RUNNING, standing=Standing.DIED)
    (node,) = occupancy.node_slots(picture(runs(1, "n1"), allocations=(dead,)))
    assert (node.state, node.busy, node.idle) == ("gone", 0, 0)
    assert occupancy.node_lines([], 40, 6) == ["no node has begun"]


# ---- what is said


def test_the_end_is_a_range_or_unknown() -> None:
    few = [finished(number, 1.0) for number in range(1, 4)]
    assert "the end is unknown: too few" in panels.ending(picture(*few))
    many = [finished(number, 1.0) for number in range(1, 41)]
    assert "the budget is spent between " in panels.ending(picture(*many))
    assert "the walltime ends before the budget: " in panels.ending(picture(*many, max_evals=5000))
    assert "for there is no budget" in panels.ending(picture(*many, max_evals=None))
    assert panels.ending(picture(*many, finished_at=NOW)) == "the search is done"
    assert panels.ending(picture(*many, allocations=())) == "nothing runs"


def test_progress() -> None:
    failed = Seen(3, {}, State.TIMED_OUT, error_kind="Timeout", gathered_at=1.0)
    seen = picture(finished(1, 1.0), finished(2, 2.0, attempt=3), failed, runs(4, "n1"), max_evals=6)
    assert panels.progress(seen) == (
        "██████████░░░░░░░░░░ 50%, 3 of 6 ended (1 running, 2 finished, 1 timed out; 2 tried again)"
    )
    assert panels.progress(picture(max_evals=None)) == "0 ended, no budget (none yet)"


def test_allocations_that_wait_are_counted() -> None:
    waits = dataclasses.replace(
        RUNNING, standing=Standing.QUEUED, started_at=None, deadline_at=None, time_left_s=None, reason="It waits."
    )
    chain = [dataclasses.replace(waits, number=number) for number in range(2, 6)]
    lines = [line for _, line in panels.facts(picture(allocations=(RUNNING, *chain)))]
    assert lines[0] == "1 (77, 2 nodes of batch) running, 0:50:00 of 1:00:00 left"
    assert lines[1] == "2 (77, 2 nodes of batch) queued: It waits."
    assert lines[2] == "and 3 more that wait"


@given(st.integers(20, 200))
def test_facts_fit_the_width(width: int) -> None:
    assert all(len(line) <= width for line in panels.fact_lines(picture(finished(1, 1.0), outcome="x" * 300), width))


# ---- the table


@pytest.mark.parametrize("minimize", [True, False])
def test_the_best_table_begins_with_the_best(minimize: bool) -> None:
    seen = picture(*(finished(number, float(number)) for number in range(1, 6)), minimize=minimize)
    top = evaluations.top(evaluations.table("3", minimize), seen.tally, 3)
    assert [one.id for one in top] == ([1, 2, 3] if minimize else [5, 4, 3])


@pytest.mark.parametrize("descending", [True, False])
def test_what_has_no_value_comes_last_whichever_way(descending: bool) -> None:
    some = [
        *(Seen(number, {"kind": value}, State.FINISHED) for number, value in enumerate((3, 1.5, "b", "a", None), 1)),
        Seen(6, {}, State.FINISHED),
    ]
    shown = evaluations.table("5", False).sorted_by("kind", descending)
    ids = [one.id for one in evaluations.top(shown, picture(*some).tally, 10)]
    assert ids == ([3, 4, 1, 2, 5, 6] if descending else [2, 1, 4, 3, 5, 6])
    assert len(evaluations.top(shown, picture(*some).tally, 2)) == 2


def test_columns_are_the_hyperparameters_and_metrics_and_none_twice() -> None:
    tally = picture(finished(1, 1.0, metrics={"loss": 0.5, "lr": 9})).tally
    shown = evaluations.table("3", False)
    assert evaluations.columns(shown, ("lr",), tally) == ("id", "objective", "lr", "loss", "duration", "node", "ended")
    assert evaluations.columns(shown.sorted_by("error", True), (), tally)[2] == "error"
    assert set(evaluations.sortable(("lr",), tally)) >= {"objective", "lr", "loss", "id", "node", "ended", "error"}
    assert evaluations.value(tally.seen[1], "lr") == 0.1  # the hyperparameter, not the metric of its name


def test_cells_are_short_lines() -> None:
    one = finished(1, 1.23456789, nodes=("n1", "n2"), error_kind="E", error_message="a\nb " + "x" * 200)
    names = ("objective", "duration", "node", "ended", "error", "none")
    cells = evaluations.cells(one, names, NOW)
    assert cells[:3] == ("1.23457", "5 s", "n1,n2") and cells[5] == ""
    assert cells[3] == time.strftime("%H:%M:%S", time.localtime(NOW - 590))
    assert cells[4].startswith("E: a b xxx") and cells[4].endswith("…") and len(cells[4]) == 80
