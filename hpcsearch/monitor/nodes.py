"""How an allocation's nodes were used: how long each was held, busy, and given back before the allocation's end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from hpcsearch.monitor.allocations import AllocationView
from hpcsearch.monitor.places import Key, Place
from hpcsearch.workflow import queries, schema

#: The driver's words for a node's state -> ours.
WORDS: Mapping[str, str] = {
    "STARTING": "starting",
    "UP": "up",
    "RELEASED": "given back",
    "LOST": "lost",
    "QUARANTINED": "set aside",
    "DONE": "done",
    "UNHEARD": "unheard",
}

#: States of nodes that were given back once ``held_to_at`` is known; what was set aside may be held to the end.
_GIVEN_BACK = frozenset({"RELEASED", "QUARANTINED"})
#: What a reader has to be told of in any case.
TROUBLE = frozenset({"lost", "set aside"})


@dataclass(frozen=True)
class NodeView:
    """One node of one allocation. Times are in seconds since 1970, UTC."""

    allocation: int
    name: str
    state: str
    slots: int
    cores: int
    gpus: int
    held_from_at: float
    held_to_at: float | None  # None while it is held
    held_s: float  # until now, while it is held
    busy_s: float  # slot-seconds of evaluations, divided by its slots
    given_back_s: float  # from its release to the allocation's end, or until now
    reason: str


def read_nodes(
    connection: Connection,
    allocations: Sequence[AllocationView],
    rows: Iterable[Mapping[str, Any]],
    now: float,
    *,
    used: bool = True,
) -> tuple[NodeView, ...]:
    """The nodes of all allocations that have begun; one that no agent has told of yet has the name ``?``.

    How busy they were takes a look at every attempt: without ``used`` that is 0.
    """
    ends = {one.number: _end_at(connection, one, now) for one in allocations if one.started_at is not None}
    rows = list(rows)
    slots = {(row["allocation"], row["name"]): row["slots"] or 0 for row in rows}
    busy = _slot_seconds(connection, ends, slots) if used else {}
    of: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["allocation"], []).append(row)
    views: list[NodeView] = []
    for one in allocations:
        if one.number in ends:
            known = list(of.get(one.number, ()))
            unheard: Mapping[str, Any] = {"name": "?", "state": "UNHEARD"}
            known += [unheard] * (one.nodes - len(known))
            views += [_view(one, row, busy.get((one.number, row["name"]), 0.0), ends[one.number]) for row in known]
    return tuple(views)


def _view(allocation: AllocationView, row: Mapping[str, Any], slot_s: float, end_at: float) -> NodeView:
    begun = [at for at in (allocation.started_at, row.get("held_from_at")) if at is not None]
    from_at = min(begun)
    state, slots = row["state"], row.get("slots") or 0
    gone_at = row.get("held_to_at")
    to_at = max(from_at, end_at if gone_at is None else gone_at)
    still = gone_at is None and allocation.live
    return NodeView(
        allocation=allocation.number,
        name=row["name"],
        state=WORDS.get(state, state.lower()),
        slots=slots,
        cores=row.get("cores") or 0,
        gpus=row.get("gpus") or 0,
        held_from_at=from_at,
        held_to_at=None if still else to_at,
        held_s=to_at - from_at,
        busy_s=slot_s / slots if slots else 0.0,
        given_back_s=max(0.0, end_at - to_at) if state in _GIVEN_BACK else 0.0,
        reason=row.get("reason") or "",
    )


def _end_at(connection: Connection, allocation: AllocationView, now: float) -> float:
    """When an allocation ended, now while it works; for one that died, the last that was recorded of it."""
    if allocation.live:
        return now
    if allocation.ended_at is not None:
        return allocation.ended_at
    table = schema.event.c
    last = connection.execute(select(func.max(table.at)).where(table.allocation == allocation.number)).scalar()
    return max(allocation.started_at or 0.0, last or 0.0)


def _slot_seconds(connection: Connection, ends: Mapping[int, float], slots: Mapping[Key, int]) -> dict[Key, float]:
    """The slot-seconds of evaluations on each node, to the end of the allocation (``ends``) at most.

    What a dead allocation had under way is recorded as ended only when the next one takes over.
    """
    if not ends:
        return {}
    table = schema.attempt.c
    end_at = case(dict(ends), value=table.allocation)
    ended_at = case((table.ended_at < end_at, table.ended_at), else_=end_at)
    place = queries.place_of(schema.attempt)
    seconds = func.sum(ended_at - table.started_at).label("seconds")
    query = select(*place, seconds).where(table.allocation.in_(ends)).group_by(*place)
    busy: dict[Key, float] = {}
    for row in connection.execute(query).mappings():
        for key, count in Place.of(row).on_each(slots):
            busy[key] = busy.get(key, 0.0) + count * (row["seconds"] or 0.0)
    return busy


@dataclass(frozen=True)
class NodeHours:
    """Sums over nodes, in hours."""

    held: float
    busy: float
    given_back: float


def node_hours(nodes: Iterable[NodeView]) -> NodeHours:
    nodes = list(nodes)
    return NodeHours(
        sum(node.held_s for node in nodes) / 3600,
        sum(node.busy_s for node in nodes) / 3600,
        sum(node.given_back_s for node in nodes) / 3600,
    )


def states_in_words(nodes: Iterable[NodeView]) -> str:
    """``2 up, 1 given back``, in the order in which nodes go through their states."""
    counts = Counter(node.state for node in nodes)
    return ", ".join(f"{counts[word]} {word}" for word in WORDS.values() if counts[word])
