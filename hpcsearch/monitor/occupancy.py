"""What the slots of each node do now: busy, idle, or gone with their node."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hpcsearch.monitor.nodes import TROUBLE, NodeView
from hpcsearch.monitor.places import Key, slots_in_use
from hpcsearch.monitor.watch import Picture

_UP = "up"
#: What a node is whose allocation ended without recording its end.
_GONE = "gone"
_HELD = frozenset({_UP, "starting", "unheard"})


@dataclass(frozen=True)
class NodeSlots:
    """A node and its slots."""

    name: str
    state: str  # as in ``nodes.WORDS``
    slots: int
    busy: int  # of those; 0 where the node is not up
    reason: str

    @property
    def idle(self) -> int:
        return self.slots - self.busy if self.state == _UP else 0


def node_slots(picture: Picture) -> list[NodeSlots]:
    """The nodes of the allocations that work, else of the last one that did: those to look at first, first."""
    nodes = picture.snapshot.nodes
    live = {one.number for one in picture.snapshot.live} & {node.allocation for node in nodes}
    wanted = live or {node.allocation for node in nodes[-1:]}
    busy = _busy(picture)
    rows = [
        _row(node, busy[node.allocation, node.name], node.allocation in live)
        for node in nodes
        if node.allocation in wanted
    ]
    return sorted(rows, key=lambda node: (node.state not in TROUBLE, node.state != _UP, -node.idle, node.name))


def _busy(picture: Picture) -> Counter[Key]:
    """Slots in use by allocation and node."""
    slots = {(node.allocation, node.name): node.slots for node in picture.snapshot.nodes}
    return slots_in_use(slots, ((one.place, 1) for one in picture.tally.running.values()))


def _row(node: NodeView, busy: int, live: bool) -> NodeSlots:
    if not live and node.state in _HELD:
        return NodeSlots(node.name, _GONE, node.slots, 0, node.reason)
    here = min(busy, node.slots) if node.state == _UP else 0
    return NodeSlots(node.name, node.state, node.slots, here, node.reason)


def summary(nodes: list[NodeSlots]) -> str:
    """``2 up, 1 lost: 7 of 8 slots busy``."""
    states = Counter(node.state for node in nodes)
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    slots = sum(node.slots for node in nodes if node.state == _UP)
    busy = sum(node.busy for node in nodes)
    return f"{words}: {busy} of {slots} slots busy" if slots else words


def node_lines(nodes: list[NodeSlots], width: int, height: int) -> list[str]:
    """A line for all nodes and one for each, those that do not fit counted."""
    if not nodes:
        return ["no node has begun"]
    lines = [_node_line(node, max(len(one.name) for one in nodes)) for node in nodes]
    room = height - 1
    if len(lines) > room:
        lines = [*lines[: room - 1], f"and {len(lines) - room + 1} more"]
    return [line[:width] for line in (summary(nodes), *lines)]


#: Up to so many slots are drawn one by one.
_DRAWN = 16


def _node_line(node: NodeSlots, name_width: int) -> str:
    if node.state != _UP:
        return f"{node.name:{name_width}} {node.state}" + (f": {node.reason}" if node.reason else "")
    bar = "■" * node.busy + "·" * node.idle if node.slots <= _DRAWN else ""
    return " ".join(filter(None, (f"{node.name:{name_width}}", bar, f"{node.busy} busy, {node.idle} idle")))
