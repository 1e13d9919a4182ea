"""The last round: which nodes take what is left of the budget."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.nodes import Node, NodeTable, Placement
from hpcsearch.allocation.release import surplus
from hpcsearch.allocation.tail import Outlook, Tail, fill_s, room, takers

SECONDS = st.floats(0.001, 1e5)


def filled(*nodes: str, slots: int = 2) -> NodeTable:
    """A table all of whose slots are busy."""
    table = NodeTable()
    for name in nodes:
        table.add(name, slots)
        for _ in range(slots):
            assert table.place(1) is not None
    return table


def since(table: NodeTable, begun_s: dict[str, float]) -> list[tuple[Placement, float | None]]:
    """What runs, by node, since when."""
    return [(Placement(name, slot), begun_s[name]) for name, node in table.nodes.items() for slot in range(node.slots)]


def nothing() -> Iterator[tuple[Placement, float | None]]:
    pytest.fail("running evaluations were looked at")
    yield


def test_what_is_left_of_a_running_evaluation() -> None:
    outlook = Outlook([1.0, 2.0, 3.0, 10.0])
    assert outlook.mean_s == 4.0
    assert outlook.left_s(0.0) == pytest.approx(16 / 5)  # the four, and one that ends at once
    assert outlook.left_s(2.0) == pytest.approx((1 + 8 + 2) / 3)  # those of 3 s and 10 s, and one of twice its age
    assert outlook.left_s(20.0) == 20.0
    assert (Outlook([]).mean_s, Outlook([]).left_s(7.0)) == (0.0, 7.0)


@given(st.lists(SECONDS, max_size=40).map(sorted), SECONDS)
def test_some_time_is_always_left(seconds: list[float], age_s: float) -> None:
    assert 0 < Outlook(seconds).left_s(age_s) <= max([2 * age_s, *seconds])


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.floats(0, 1e5))
def test_work_fills_the_slots_that_are_free_first(left_s: list[float], work_s: float) -> None:
    at_s = fill_s(left_s, work_s)
    assert sum(max(0.0, at_s - slot_s) for slot_s in left_s) == pytest.approx(work_s, abs=1e-6)


def test_a_free_slot_takes_one_evaluation_however_long() -> None:
    assert room([0.0, 0.0, 5.0], 1.0, 10.0) == 2
    assert room([0.0, 5.0], 25.0, 10.0) == pytest.approx(2.5 + 2)
    assert room([0.0, 5.0], 25.0, 0.0) == 1  # no duration is known


def test_the_first_node_and_those_held_longest_take_what_is_left() -> None:
    nodes = [Node("first", [1, 0]), Node("short", [1, 0]), Node("long", [1, 0]), Node("idle", [0, 0])]
    left_s = {"first": [1.0, 0.0], "short": [2.0, 0.0], "long": [100.0, 0.0], "idle": [0.0, 0.0]}
    assert takers(nodes, "first", left_s, 1, 1.0) == ["first"]
    assert takers(nodes, "first", left_s, 190, 1.0) == ["first"]  # all of it, before the long one ends
    assert takers(nodes, "first", left_s, 260, 1.0) == ["first", "long"]
    assert takers(nodes, "first", left_s, 300, 1.0) == ["first", "long", "short"]
    assert takers(nodes, "first", left_s, 10_000, 1.0) == ["first", "long", "short", "idle"]


def test_nodes_without_any_known_duration_are_filled_one_after_the_other() -> None:
    nodes = [Node("idle", [0, 0]), Node("busy", [1, 0]), Node("first", [0, 1])]
    left_s = {"idle": [0.0, 0.0], "busy": [3.0, 0.0], "first": [0.0, 3.0]}
    assert takers(nodes, "first", left_s, 1, 0.0) == ["first"]
    assert takers(nodes, "first", left_s, 2, 0.0) == ["first", "busy"]
    assert takers(nodes, "first", left_s, 3, 0.0) == ["first", "busy", "idle"]
    assert takers(nodes, "gone", left_s, 1, 0.0) == ["busy"]


@given(
    st.lists(st.lists(st.just(0.0) | SECONDS, min_size=1, max_size=4), min_size=1, max_size=8),
    st.integers(1, 60),
    st.just(0.0) | SECONDS,
)
def test_what_is_chosen_suffices_or_is_everything(slots: list[list[float]], left: int, mean_s: float) -> None:
    nodes = [Node(f"n{number}", [int(slot_s > 0) for slot_s in each]) for number, each in enumerate(slots)]
    left_s = {node.name: each for node, each in zip(nodes, slots, strict=True)}
    chosen = takers(nodes, "n0", left_s, left, mean_s)
    assert chosen[0] == "n0"
    assert len(set(chosen)) == len(chosen)
    held_s = [max(left_s[name]) for name in chosen[1:]]
    assert held_s == sorted(held_s, reverse=True)
    # As soon as nothing else runs, everything can be placed sooner or later: some slot is always to be had.
    if all(slot_s == 0.0 for each in slots for slot_s in each):
        assert any(0 in node.loads for node in nodes if node.name in chosen)


def test_nothing_is_looked_at_before_the_last_round() -> None:
    table = filled(*(f"n{number}" for number in range(8)))
    tail = Tail("n0", round_=1.0)
    for left in (17, 1000, math.inf):
        assert tail.takers(table, nothing(), left, Durations([1.0]), 0.0) is None
    assert tail.takers(table, nothing(), 0, Durations([1.0]), 0.0) == ["n0"]
    assert tail.takers(NodeTable(), nothing(), 0, Durations(), 0.0) == ["n0"]


def test_a_node_drains_while_others_are_held_by_long_evaluations() -> None:
    """All begin 1 s evaluations but one, which has gone on for 50 s: its node and the first take the last eight."""
    table = filled("n0", "n1", "n2", "n3")
    running = since(table, {"n0": 99.9, "n1": 99.9, "n2": 50.0, "n3": 99.9})
    tail = Tail("n0", round_=1.0)
    chosen = tail.takers(table, running, 8, Durations([1.0] * 20), 100.0)
    assert chosen == ["n0"]
    assert tail.takers(table, running, 8, Durations([40.0] * 20), 200.0) == ["n0", "n2", "n1", "n3"]


def test_a_drained_node_is_surplus() -> None:
    table = filled("n0", "n1", "n2")
    for slot in range(2):
        table.leave(Placement("n1", slot))
        table.leave(Placement("n0", slot))
    table.leave(Placement("n2", 0))
    assert surplus(table, ["n0"]) == ["n1"]
    assert surplus(table, ["n0", "n1"]) == []


def test_a_choice_holds_for_a_while_but_not_for_other_nodes() -> None:
    table = filled("n0", "n1", "n2")
    durations = Durations([100.0] * 20)
    tail = Tail("n0", round_=2.0)
    running = since(table, {"n0": 0.0, "n1": 0.0, "n2": 0.0})
    assert tail.takers(table, running, 6, durations, 10.0) == ["n0", "n1", "n2"]
    assert tail.takers(table, nothing(), 1, durations, 11.0) == ["n0", "n1", "n2"]
    table.remove("n1")
    assert tail.takers(table, running, 6, durations, 11.5) == ["n0", "n2"]
    older = since(table, {"n0": 0.0, "n2": -5000.0})
    assert tail.takers(table, older, 6, durations, 20.0) == ["n0"]


def test_waiting_evaluations_count_too() -> None:
    """Of two nodes, one has another evaluation behind the one that runs: it is held longer."""
    table = filled("n0", "n1", "n2", slots=1)
    running = [(Placement(name, 0), 0.0) for name in ("n0", "n1", "n2")]
    tail = Tail("n0", round_=5.0)
    chosen = tail.takers(table, [*running, (Placement("n2", 0), None), (Placement("gone", 0), 0.0)], 9,
                         Durations([10.0] * 5), 1.0)  # fmt: skip
    assert chosen == ["n0", "n2", "n1"]


def test_the_first_node_may_not_be_there() -> None:
    """Its agent is late, or was lost: what is left is placed all the same."""
    table = NodeTable()
    table.add("n1", 2)
    chosen = Tail("n0").takers(table, [], 1, Durations(), 0.0)
    assert chosen == ["n1"]
    assert table.place_on(chosen) == Placement("n1", 0)


def test_a_closed_slot_takes_nothing() -> None:
    """Of three slots of the first node one is left: it cannot take three evaluations before the long one ends."""
    table = filled("n0", "n1", slots=3)
    running = since(table, {"n0": 99.0, "n1": 0.0})
    durations = Durations([10.0] * 20)
    assert Tail("n0", round_=5.0).takers(table, running, 18, durations, 100.0) == ["n0"]
    for slot in (1, 2):
        table.close(Placement("n0", slot))
    assert Tail("n0", round_=5.0).takers(table, running, 18, durations, 100.0) == ["n0", "n1"]
    table.close(Placement("n0", 0))
    assert Tail("n0", round_=5.0).takers(table, running, 1, durations, 100.0) == ["n1"]
