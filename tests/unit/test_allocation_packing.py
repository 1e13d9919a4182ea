"""Evaluations of different sizes on the same nodes: who goes next and where, and what may never happen."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.allocation.needs import Needs
from hpcsearch.allocation.nodes import Need, NodeTable, Placement
from hpcsearch.allocation.packing import PATIENCE, Packing
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Resources


def table_of(nodes: int, slots: int) -> NodeTable:
    table = NodeTable()
    for number in range(nodes):
        table.add(f"n{number}", slots)
    return table


needs = st.builds(Need, st.integers(1, 4), st.integers(1, 4)).map(
    lambda need: Need(need.nodes, 0) if need.nodes > 1 else need
)


@settings(max_examples=200)
@given(st.lists(needs, min_size=1, max_size=60), st.integers(4, 6), st.data())
def test_everything_that_could_run_runs_and_nothing_is_given_twice(
    asked: list[Need], nodes: int, data: st.DataObject
) -> None:
    """Whatever ends when: no slot has two owners, each has what it asked for, all run, and all is free at the end."""
    table = table_of(nodes, 4)
    packing = Packing(table)
    waiting = list(enumerate(asked, start=1))
    running: dict[int, Placement] = {}
    while waiting or running:
        while (found := packing.next(waiting)) is not None:
            position, placement = found
            identity, need = waiting.pop(position)
            assert len(placement.nodes) == need.nodes
            assert set(Counter(slot.node for slot in placement.slots).values()) == {need.on(4)}
            running[identity] = placement
            owned = [slot for one in running.values() for slot in one.slots]
            assert len(owned) == len(set(owned))
        assert running, f"nothing runs, and {waiting} wait"
        ended = data.draw(st.sampled_from(sorted(running)))
        table.leave(running.pop(ended))
    assert table.free == nodes * 4


@pytest.mark.parametrize("wide", [2, 3, 4])
def test_a_large_one_is_overtaken_only_so_often(wide: int) -> None:
    """Small ones come without end, the longest runner ends first: without nodes kept for it it would never start."""
    table = table_of(4, 2)
    packing = Packing(table)
    running = [placement for _ in range(8) if (placement := table.place(1)) is not None]
    small = itertools.count(2)
    waiting = [(1, Need(wide, 0)), *((next(small), Need()) for _ in range(20))]
    overtook, begun = 0, False
    while not begun and overtook <= PATIENCE + 8:
        table.leave(running.pop(0))
        while not begun and (found := packing.next(waiting)) is not None:
            begun = waiting.pop(found[0])[0] == 1
            overtook += not begun
            running.append(found[1])
            waiting.append((next(small), Need()))
    assert begun


def test_the_largest_that_fits_goes_first_to_the_fullest_node_that_has_room() -> None:
    table = table_of(2, 4)
    packing = Packing(table)
    first = table.place_wide(Need(1, 1), ["n1"])
    assert first == Placement("n1", 0)
    found = packing.next([(1, Need()), (2, Need(1, 3)), (3, Need(2, 0))])
    assert found == (1, Placement("n1", 1, (Placement("n1", 2), Placement("n1", 3))))
    assert packing.next([(1, Need()), (3, Need(2, 0))]) == (0, Placement("n0", 0))


def test_only_the_nodes_that_may_be_used_are_used() -> None:
    table = table_of(3, 1)
    packing = Packing(table)
    assert packing.next([(1, Need(2, 0))], ["n1"]) is None
    found = packing.next([(1, Need(2, 0))], ["n1", "n2", "gone"])
    assert found is not None and found[1].nodes == ("n1", "n2")


def test_a_node_that_goes_is_kept_for_nobody() -> None:
    table = table_of(3, 1)
    packing = Packing(table)
    running = [table.place(1) for _ in range(3)]
    waiting = [(1, Need(2, 0))]
    for number in range(2, 2 + PATIENCE):  # each overtakes the large one
        for one in running[:1]:
            assert one is not None
            table.leave(one)
        found = packing.next([*waiting, (number, Need())])
        assert found is not None and found[0] == 1
        running[0] = found[1]
    assert packing.next(waiting) is None  # nodes are kept from now on
    table.remove(packing._kept[1][0])
    for name in table.nodes:
        table.leave(Placement(name, 0))
    found = packing.next([*waiting, (99, Need())])
    assert found is not None and found[0] == 0 and len(found[1].nodes) == 2


def test_resources_become_slots() -> None:
    needs = Needs(nodes=4, slots=4)
    needs.node_up({"cores": [[number] for number in range(16)], "gpus": ["0", "1"], "memory_mb": 100_000})
    assert needs.of(Resources()) == Need(1, 1)
    assert needs.of(Resources(nodes=3)) == Need(3, 0)
    assert needs.of(Resources(ranks_per_node=2, cores=4)) == Need(1, 2)
    assert needs.of(Resources(cores=5)) == Need(1, 2)
    assert needs.of(Resources(ranks_per_node=16, cores=1)) == Need(1, 0)
    assert needs.of(Resources(gpus=1)) == Need(1, 1)
    assert needs.of(Resources(memory_mb=30_000)) == Need(1, 2)


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (Resources(nodes=5), "it asks for 5 nodes, and the allocation has 4"),
        (Resources(ranks_per_node=3, cores=8), "it asks for 24 cores on a node, and a node has 16"),
        (Resources(gpus=1), "it asks for 1 GPUs on a node, and a node has 0"),
        (Resources(nodes=2, memory_mb=99_000), "it asks for 99000 MB of memory on a node, and a node has 95000"),
    ],
)
def test_what_no_node_has_is_refused(resources: Resources, reason: str) -> None:
    needs = Needs(nodes=4, slots=4)
    needs.node_up({"cores": [[number] for number in range(64)], "gpus": ["0"], "memory_mb": 200_000})
    needs.node_up({"cores": [[number] for number in range(16)], "gpus": [], "memory_mb": 100_000})
    with pytest.raises(AllocationError, match=reason):
        needs.of(resources)
