"""The table of nodes: where the next evaluation goes."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hpcsearch.allocation.nodes import NodeTable, Placement, plan_slots
from hpcsearch.errors import AllocationError
from hpcsearch.worker.protocol import Share


class TableMachine(RuleBasedStateMachine):
    """Anything that may happen to a table, beside the plainest model of it: how many are on each slot."""

    def __init__(self) -> None:
        super().__init__()
        self.table = NodeTable()
        self.loads: dict[Placement, int] = {}
        self.names = (f"n{number}" for number in itertools.count())

    @rule(slots=st.integers(1, 4))
    def add(self, slots: int) -> None:
        name = next(self.names)
        self.table.add(name, slots)
        self.loads |= {Placement(name, slot): 0 for slot in range(slots)}

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), comes_back=st.booleans())
    def remove(self, data: st.DataObject, comes_back: bool) -> None:
        name = data.draw(st.sampled_from(sorted({placement.node for placement in self.loads})))
        gone = [placement for placement in self.loads if placement.node == name]
        self.table.remove(name)
        for placement in gone:
            del self.loads[placement]
            self.table.leave(placement)  # nobody minds
        if comes_back:
            self.table.add(name, len(gone))
            self.loads |= dict.fromkeys(gone, 0)

    @rule(depth=st.integers(0, 5))
    def place(self, depth: int) -> None:
        placement = self.table.place(depth)
        room = [one for one, load in self.loads.items() if load < depth]
        assert (placement is None) is (not room)
        if placement is not None:
            assert self.loads[placement] == min(self.loads.values())
            self.loads[placement] += 1
            assert self.loads[placement] <= depth

    @rule(data=st.data())
    def place_on(self, data: st.DataObject) -> None:
        names = sorted({placement.node for placement in self.loads})
        order = [*data.draw(st.lists(st.sampled_from(names), unique=True) if names else st.just([])), "unknown"]
        free = {one for one, load in self.loads.items() if load == 0}
        placement = self.table.place_on(order)
        wanted = next((name for name in order if any(one.node == name for one in free)), None)
        assert (placement.node if placement else None) == wanted
        if placement is not None:
            assert placement in free
            self.loads[placement] = 1

    def busy(self, name: str) -> int:
        return sum(load > 0 for placement, load in self.loads.items() if placement.node == name)

    @precondition(lambda self: any(self.loads.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        placement = data.draw(st.sampled_from([one for one, load in self.loads.items() if load]))
        self.table.leave(placement)
        self.loads[placement] -= 1

    @invariant()
    def the_same_is_known(self) -> None:
        assert self.table.slots == len(self.loads)
        assert self.table.free == sum(load == 0 for load in self.loads.values())
        for name, node in self.table.nodes.items():
            loads = [self.loads[Placement(name, slot)] for slot in range(node.slots)]
            assert node.loads == loads
            assert (node.busy, node.idle) == (self.busy(name), not any(loads))

    def teardown(self) -> None:
        for placement, load in self.loads.items():
            for _ in range(load):
                self.table.leave(placement)
        assert self.table.free == self.table.slots == len(self.loads)
        assert all(self.table.place(1) is not None for _ in self.loads)
        assert self.table.place(1) is None


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=40, stateful_step_count=30)


def test_slots_take_turns() -> None:
    table = NodeTable()
    table.add("a", 2)
    table.add("b", 2)
    first = [table.place(1) for _ in range(4)]
    assert len(set(first)) == 4 and None not in first
    table.leave(Placement("b", 1))
    table.leave(Placement("a", 0))
    assert [table.place(1), table.place(1)] == [Placement("b", 1), Placement("a", 0)]


def test_a_table_without_nodes() -> None:
    table = NodeTable()
    assert (table.slots, table.free, table.place(8), table.place_on(["a"])) == (0, 0, None, None)
    table.remove("unknown")


CORES = st.builds(
    lambda cores, threads: [[core + cores * thread for thread in range(threads)] for core in range(cores)],
    st.integers(1, 40),
    st.integers(1, 2),
)


def check_gpus(shares: list[Share], names: list[str]) -> None:
    """Each GPU has an owner; more slots than GPUs share them evenly, and no slot is without."""
    given_away = [gpu for share in shares for gpu in share.gpus]
    if len(names) >= len(shares) or not names:
        assert given_away == names
        return
    users = Counter(given_away)
    assert len(given_away) == len(shares) and users.keys() == set(names) and given_away == sorted(given_away)
    assert max(users.values()) - min(users.values()) <= 1


@given(CORES, st.integers(0, 8), st.integers(1, 20))
def test_bound_slots_divide_the_node(cores: list[list[int]], gpus: int, slots: int) -> None:
    cpus = [cpu for core in cores for cpu in core]
    names = [str(number) for number in range(gpus)]
    if len(cpus) < slots:
        with pytest.raises(AllocationError, match=f"need {slots} cores, and its agent was given {len(cpus)}") as caught:
            plan_slots(cores, names, slots, bind=True)
        assert "--no-bind" in caught.value.hint and f"at most {len(cpus)}" in caught.value.hint
        return
    shares = plan_slots(cores, names, slots, bind=True)
    assert len(shares) == slots and all(share.bound for share in shares)
    assert [cpu for share in shares for cpu in share.cpus] == cpus  # disjoint, complete, in the mask's order
    check_gpus(shares, names)
    for parts in ([len(share.gpus) for share in shares], [share.threads for share in shares]):
        assert max(parts) - min(parts) <= 1 and parts == sorted(parts, reverse=True)
    if len(cores) >= slots:  # no core is torn apart
        owners = {cpu: number for number, share in enumerate(shares) for cpu in share.cpus}
        assert all(len({owners[cpu] for cpu in core}) == 1 for core in cores)
        assert sum(share.threads for share in shares) == len(cores)
    else:
        assert all(share.threads == len(share.cpus) for share in shares)


@given(CORES, st.integers(0, 8), st.integers(1, 60))
def test_unbound_slots_share_the_cores_and_divide_the_gpus(cores: list[list[int]], gpus: int, slots: int) -> None:
    names = [str(number) for number in range(gpus)]
    shares = plan_slots(cores, names, slots, bind=False)
    assert len(shares) == slots and not any(share.bound for share in shares)
    check_gpus(shares, names)
    assert {share.threads for share in shares} == {max(1, len(cores) // slots)}


def test_a_closed_slot_takes_nothing_and_its_evaluation_can_leave() -> None:
    table = NodeTable()
    table.add("a", 2)
    placed = table.place(1)
    assert placed is not None
    table.close(placed)
    table.close(placed)
    other = Placement("a", 1 - placed.slot)
    assert (table.slots, table.free, table.place(4)) == (1, 1, other)
    table.leave(placed)
    assert (table.free, table.place_on(["a"]), table.nodes["a"].loads[placed.slot]) == (0, None, 0)
    table.leave(other)
    table.remove("a")
    assert (table.slots, table.free) == (0, 0)


def test_a_node_that_rests_is_not_free_until_it_wakes() -> None:
    table = NodeTable()
    for name in ("a", "b"):
        table.add(name, 2)
    first = table.place(1)
    assert first == Placement("a", 0)
    table.rest("a")
    assert (table.free, table.slots) == (2, 4)
    assert [table.place(1) for _ in range(3)] == [Placement("b", 0), Placement("b", 1), None]
    assert table.place_on(["a"]) is None
    table.leave(first)
    table.close(Placement("a", 1))
    table.rest("b")
    assert table.resting == {"a"}, "one must be left"
    table.wake("a", "b")
    assert table.place(1) == Placement("a", 0)
    assert table.place(1) is None


def test_the_last_node_does_not_rest() -> None:
    table = NodeTable()
    for name in ("a", "b"):
        table.add(name, 1)
    table.rest("a")
    table.remove("b")
    assert not table.resting and table.free == 1


def test_free_slots_of_some_nodes() -> None:
    table = NodeTable()
    for name in ("a", "b", "c"):
        table.add(name, 3)
    assert table.place_on(["a"]) is not None
    table.close(Placement("a", 2))
    assert (table.free, table.free_on(["a"]), table.free_on(["b", "gone"]), table.free_on(["a", "c"])) == (7, 1, 3, 4)
    table.rest("b")
    assert (table.free, table.free_on(["a", "b"])) == (4, 1)
