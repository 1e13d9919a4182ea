"""The table of nodes: which slots there are, what is on them, and where the next evaluation goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hpcsearch.errors import AllocationError
from hpcsearch.worker.protocol import Share

Item = TypeVar("Item")


@dataclass(frozen=True)
class Placement:
    """Where an evaluation runs: a slot of a node, and ``others``, of this node or of more, where one is not enough."""

    node: str
    slot: int
    others: tuple[Placement, ...] = ()

    @property
    def slots(self) -> tuple[Placement, ...]:
        """All its slots, each by itself."""
        return (Placement(self.node, self.slot), *self.others) if self.others else (self,)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its nodes, each once, the first one first."""
        return tuple(dict.fromkeys(one.node for one in self.slots))


@dataclass(frozen=True)
class Need:
    """What an evaluation takes: so many slots on each of so many nodes; ``slots`` 0 stands for all of a node."""

    nodes: int = 1
    slots: int = 1

    @property
    def single(self) -> bool:
        return self.nodes == 1 and self.slots == 1

    def on(self, slots: int) -> int:
        """How many slots it takes of a node that has so many."""
        return self.slots or slots


def plan_slots(cores: Sequence[Sequence[int]], gpus: Sequence[str], slots: int, bind: bool) -> list[Share]:
    """Divides a node among its slots: disjoint cores in the mask's order, and disjoint GPUs.

    What does not divide evenly goes one each to the first slots. Where there are fewer cores than slots, but enough
    hardware threads, those are divided; where there are fewer GPUs than slots, neighbours share one.

    Args:
        cores: the CPUs (hardware threads) of each core that the node's agent may use.
        gpus: its GPUs.
        slots: how many slots the node is to have.
        bind: whether slots are held to cores of their own.

    Raises:
        AllocationError: there are fewer CPUs than slots, and sharing them was not asked for.
    """
    shared = bool(gpus) and len(gpus) < slots
    gpu_parts = [[gpus[slot * len(gpus) // slots]] for slot in range(slots)] if shared else divide(gpus, slots)
    if not bind:
        everything = tuple(cpu for core in cores for cpu in core)
        threads = max(1, len(cores) // slots)
        return [Share(everything, threads, tuple(part), bound=False) for part in gpu_parts]
    units = cores if len(cores) >= slots else [[cpu] for core in cores for cpu in core]
    if len(units) < slots:
        raise AllocationError(
            f"{slots} evaluations at once on one node need {slots} cores, and its agent was given {len(units)}.",
            f"Ask for at most {len(units)} with --evals-per-node, or let evaluations share cores with --no-bind.",
        )
    return [
        Share(tuple(cpu for unit in units for cpu in unit), len(units), tuple(gpus), bound=True)
        for units, gpus in zip(divide(units, slots), gpu_parts, strict=True)
    ]


def divide(items: Sequence[Item], parts: int) -> list[Sequence[Item]]:
    """Splits into so many parts, in order, of which the first ones have one more where it does not come out even."""
    size, rest = divmod(len(items), parts)
    starts = [part * size + min(part, rest) for part in range(parts + 1)]
    return [items[starts[part] : starts[part + 1]] for part in range(parts)]


@dataclass
class Node:
    """One node of the allocation; ``loads`` counts the evaluations that were sent to each of its slots.

    ``closed`` are slots that take no more.
    """

    name: str
    loads: list[int]
    closed: set[int] = field(default_factory=set)

    @property
    def slots(self) -> int:
        return len(self.loads) - len(self.closed)

    @property
    def open(self) -> list[Placement]:
        """Its slots that are not closed."""
        return [Placement(self.name, slot) for slot in range(len(self.loads)) if slot not in self.closed]

    @property
    def busy(self) -> int:
        """How many of its slots have something to do."""
        return sum(load > 0 for load in self.loads)

    @property
    def free(self) -> int:
        """How many of its slots could take something at once."""
        return sum(load == 0 and slot not in self.closed for slot, load in enumerate(self.loads))

    @property
    def idle(self) -> bool:
        return not any(self.loads)

    def free_slots(self) -> list[Placement]:
        """Those that could take something at once."""
        return [one for one in self.open if self.loads[one.slot] == 0]


class NodeTable:
    """All slots of the allocation, by how many evaluations each has been sent and not finished.

    Args:
        names: the nodes in the scheduler's order, which launchers keep to.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._order = {name: number for number, name in enumerate(names)}
        self.nodes: dict[str, Node] = {}
        self.resting: set[str] = set()  # nodes that get nothing more for now: their slots are not free
        self.slots = 0
        # Slots by load, in the order in which they came there: a dictionary is a set that keeps the order.
        self._by_load: list[dict[Placement, None]] = [{}]

    @property
    def free(self) -> int:
        """How many slots have nothing to do."""
        return len(self._by_load[0])

    def free_on(self, names: Iterable[str]) -> int:
        """How many slots of these nodes have nothing to do."""
        return sum(self.nodes[name].free for name in names if name in self.nodes and name not in self.resting)

    def add(self, name: str, slots: int) -> None:
        """A node came up with so many slots."""
        self.nodes[name] = Node(name, [0] * slots)
        self._order.setdefault(name, len(self._order))
        self.slots += slots
        for slot in range(slots):
            self._by_load[0][Placement(name, slot)] = None

    def remove(self, name: str) -> None:
        """A node went away; what was on it is the caller's to deal with."""
        node = self.nodes.pop(name, None)
        if node is not None:
            self.slots -= node.slots
            if name in self.resting:
                self.resting.remove(name)
            else:
                for placement in node.open:
                    del self._by_load[node.loads[placement.slot]][placement]
            if len(self.resting) == len(self.nodes):
                self.wake(*self.resting)

    def rest(self, name: str) -> None:
        """A node gets nothing more for now, unless no other would be left."""
        if name not in self.resting and len(self.resting) + 1 < len(self.nodes):
            self.resting.add(name)
            for placement in self.nodes[name].open:
                del self._by_load[self.nodes[name].loads[placement.slot]][placement]

    def wake(self, *names: str) -> None:
        """Those of these nodes that rest are used again."""
        for name in self.resting.intersection(names):
            self.resting.remove(name)
            for placement in self.nodes[name].open:
                self._by_load[self.nodes[name].loads[placement.slot]][placement] = None

    def close(self, placement: Placement) -> None:
        """A slot takes no more evaluations; what is on it still has to leave it."""
        node = self.nodes.get(placement.node)
        if node is not None and placement.slot not in node.closed:
            if node.name not in self.resting:
                del self._by_load[node.loads[placement.slot]][placement]
            node.closed.add(placement.slot)
            self.slots -= 1

    def place(self, depth: int) -> Placement | None:
        """The slot for the next evaluation: one with the fewest, and fewer than ``depth``; None when there is none."""
        for load, level in enumerate(self._by_load[:depth]):
            if level:
                placement = next(iter(level))
                self._move(placement, load, load + 1)
                return placement
        return None

    def place_on(self, names: Iterable[str]) -> Placement | None:
        """A free slot of the first of these nodes that has one; None when none has."""
        for name in names if self.free else ():
            node = self.nodes.get(name)
            for slot, load in enumerate(node.loads if node is not None else ()):
                placement = Placement(name, slot)
                if load == 0 and placement in self._by_load[0]:
                    self._move(placement, 0, 1)
                    return placement
        return None

    def could_take(self, need: Need) -> bool:
        """Whether there would be room if nothing ran."""
        return sum(node.slots >= max(1, need.slots) for node in self.nodes.values()) >= need.nodes

    def fits(self, need: Need, names: Iterable[str]) -> list[str]:
        """Those of these nodes that have room for their part of an evaluation now, those with the least first."""
        free = {}
        for name in names:
            node = self.nodes.get(name)
            if node is not None and name not in self.resting and node.slots:
                free[name] = node.free
        return sorted(
            (name for name, count in free.items() if count >= max(1, need.on(self.nodes[name].slots))),
            key=free.__getitem__,
        )

    def place_wide(self, need: Need, names: Iterable[str]) -> Placement | None:
        """Slots for an evaluation that takes several, on these nodes; None when they are not free together."""
        fitting = self.fits(need, names)
        if len(fitting) < need.nodes:
            return None
        taken: list[Placement] = []
        for name in sorted(fitting[: need.nodes], key=self._order.__getitem__):
            node = self.nodes[name]
            taken += node.free_slots()[: need.on(node.slots)]
        for placement in taken:
            self._move(placement, 0, 1)
        return Placement(taken[0].node, taken[0].slot, tuple(taken[1:]))

    def leave(self, placement: Placement) -> None:
        """An evaluation is no longer where it was."""
        for one in placement.slots:
            self._leave(one)

    def _leave(self, placement: Placement) -> None:
        node = self.nodes.get(placement.node)
        if node is None:
            return
        load = node.loads[placement.slot]
        if placement.slot in node.closed or node.name in self.resting:
            node.loads[placement.slot] = load - 1
        else:
            self._move(placement, load, load - 1)

    def _move(self, placement: Placement, old: int, new: int) -> None:
        del self._by_load[old][placement]
        while len(self._by_load) <= new:
            self._by_load.append({})
        self._by_load[new][placement] = None
        self.nodes[placement.node].loads[placement.slot] = new
