"""What evaluations take of the nodes: how many slots of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import RowMapping

#: A node: its allocation's number, and its name.
Key = tuple[int, str]


class Place(NamedTuple):
    """Where an evaluation runs or ran: ``slots`` are those on all its nodes together."""

    allocation: int
    nodes: tuple[str, ...]
    slots: int = 1

    @classmethod
    def of(cls, row: RowMapping) -> Place:
        """From the columns of ``queries.place_of``."""
        return cls(row["allocation"], split_nodes(row["nodes"]), row["slots"])

    def on_each(self, slots: Mapping[Key, int]) -> Iterator[tuple[Key, int]]:
        """How many slots it takes of each of its nodes, which have so many: of several, all that each has."""
        for name in self.nodes:
            key = (self.allocation, name)
            yield key, self.slots if len(self.nodes) == 1 else slots.get(key, 0)


def split_nodes(names: str | None) -> tuple[str, ...]:
    """The nodes of an evaluation as the database has them: with commas between."""
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


def slots_in_use(slots: Mapping[Key, int], running: Iterable[tuple[Place, int]]) -> Counter[Key]:
    """How many slots of each node are taken; ``running``: places, and how many evaluations run so."""
    busy: Counter[Key] = Counter()
    for place, count in running:
        for key, each in place.on_each(slots):
            busy[key] += each * count
    return busy
