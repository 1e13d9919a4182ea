"""Which of the waiting evaluations goes next, where they take different amounts of the allocation, and where it goes.

The largest that fits goes first, since small ones fill what large ones leave. One that has been overtaken often has
nodes kept for it: those that have the most room by then, until it fits there. So large ones do not wait for ever behind
small ones, nor small ones behind large ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcsearch.allocation.nodes import Need, NodeTable, Placement

#: So many others may be placed before one that waits longer; then nodes are kept for it.
PATIENCE = 8
#: So many of those that wait are looked at.
LOOK = 64


class Packing:
    """Chooses among evaluations that wait, in the order in which they came.

    Args:
        table: all slots.
    """

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self._overtaken: dict[int, int] = {}  # by id: how often
        self._kept: tuple[int, list[str]] = (0, [])  # for whom nodes are kept, and which

    def next(
        self, waiting: Sequence[tuple[int, Need]], names: Iterable[str] | None = None
    ) -> tuple[int, Placement] | None:
        """Places one of those that wait, and gives its position with its place; None where none fits now.

        Args:
            waiting: ids and needs, oldest first.
            names: the nodes to use; all by default.
        """
        usable = list(self._table.nodes if names is None else names)
        aged = self._aged(waiting)
        if aged is not None:
            kept = self._keep(*waiting[aged], usable)
            placement = self._table.place_wide(waiting[aged][1], kept)
            if placement is not None:
                return self._took(waiting, aged), placement
            usable = [name for name in usable if name not in kept]
        largest_first = sorted(range(len(waiting)), key=lambda position: _size(waiting[position][1]), reverse=True)
        tried: set[Need] = set()
        for position in largest_first:
            need = waiting[position][1]
            if need in tried or position == aged:
                continue
            tried.add(need)
            placement = self._table.place_wide(need, usable)
            if placement is not None:
                return self._took(waiting, position), placement
        return None

    def forget(self, identity: int) -> None:
        """An evaluation does not wait any more."""
        self._overtaken.pop(identity, None)
        if self._kept[0] == identity:
            self._kept = (0, [])

    def _aged(self, waiting: Sequence[tuple[int, Need]]) -> int | None:
        """The position of the one that nodes are kept for, if any: the first that was overtaken too often."""
        overtaken = (self._overtaken.get(identity, 0) for identity, _ in waiting)
        return next((position for position, times in enumerate(overtaken) if times >= PATIENCE), None)

    def _keep(self, identity: int, need: Need, usable: Sequence[str]) -> list[str]:
        """The nodes that are kept for it, which stay the same as long as they are there."""
        owner, names = self._kept
        gone = len(names) < need.nodes or not set(names) <= set(usable) - self._table.resting
        if owner != identity or gone:
            nodes = [self._table.nodes[name] for name in usable if name in self._table.nodes]
            fit = [node for node in nodes if node.slots >= max(1, need.slots) and node.name not in self._table.resting]
            fit.sort(key=lambda node: node.busy)
            self._kept = (identity, [node.name for node in fit[: need.nodes]])
        return self._kept[1]

    def _took(self, waiting: Sequence[tuple[int, Need]], position: int) -> int:
        for identity, _ in waiting[:position]:
            self._overtaken[identity] = self._overtaken.get(identity, 0) + 1
        self.forget(waiting[position][0])
        return position


def _size(need: Need) -> tuple[int, int]:
    """Larger for what takes more; all of a node counts for more than any number of its slots."""
    return need.nodes, need.slots or 1 << 30
