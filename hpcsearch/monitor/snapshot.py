"""A workflow at one moment: what is read for every view of it, and nothing else."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping

from hpcsearch.errors import DatabaseError
from hpcsearch.evaluation import END_STATES, State
from hpcsearch.monitor.allocations import (
    AllocationView,
    Heard,
    ask_schedulers,
    view,
    with_cancel,
    with_silence,
    with_stop,
)
from hpcsearch.monitor.nodes import NodeView, read_nodes
from hpcsearch.monitor.places import Place, slots_in_use
from hpcsearch.monitor.tally import Tally
from hpcsearch.workflow import lease, queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.workflow import Record, record


@dataclass(frozen=True)
class Snapshot:
    """A workflow at ``taken_at``. Times are in seconds since 1970, UTC."""

    name: str
    directory: Path
    taken_at: float
    created_at: float
    started_at: float | None
    finished_at: float | None
    outcome: str  # why the search ended, or paused; may be empty
    search: str
    minimize: bool
    max_evals: int | None
    max_success: int | None
    names: tuple[str, ...]  # of the hyperparameters
    settings: Mapping[str, Any]  # how its allocations run unless told otherwise
    counts: Mapping[State, int]
    slots: int  # on the nodes that are up
    slots_busy: int  # of those
    best: Record | None
    allocations: tuple[AllocationView, ...]
    nodes: tuple[NodeView, ...] = ()  # of all allocations, when they were asked for

    @property
    def ended(self) -> int:
        """Evaluations that came to an end: what ``max_evals`` counts."""
        return sum(count for state, count in self.counts.items() if state in END_STATES - {State.CANCELLED})

    @property
    def running(self) -> int:
        return self.counts.get(State.RUNNING, 0)

    @property
    def live(self) -> tuple[AllocationView, ...]:
        """The allocations that may still work on it."""
        return tuple(allocation for allocation in self.allocations if allocation.live)

    @property
    def last(self) -> AllocationView | None:
        """The last allocation that has begun; where none has, the last one."""
        begun = [one for one in self.allocations if one.started_at is not None]
        return next(reversed(begun or self.allocations), None)


def hear_schedulers(layouts: Sequence[Layout]) -> dict[Layout, Heard]:
    """What the schedulers say of the allocations that have not recorded their end, by workflow and number.

    A workflow whose database cannot be read is left out.
    """
    rows: dict[Layout, list[dict[str, Any]]] = {}
    for layout in layouts:
        with contextlib.suppress(DatabaseError), reading(layout.database) as connection:
            rows[layout] = [dict(row) for row in queries.allocation_rows(connection)]
    return ask_schedulers(rows)


def take_snapshot(
    layout: Layout, heard: Heard | None = None, with_nodes: bool = False, tally: Tally | None = None
) -> Snapshot:
    """Reads a workflow.

    Args:
        layout: which one.
        heard: what the scheduler said before; None: it is asked now.
        with_nodes: whether to look at every attempt for how busy the nodes were.
        tally: what has been counted before; with it no evaluation is looked at, and nodes come without how busy they
            were.

    Raises:
        DatabaseError: the database cannot be read.
    """
    # Asked first and read afterwards: who has ended by then has recorded it, or never will.
    statuses = hear_schedulers([layout]).get(layout, {}) if heard is None else heard
    with reading(layout.database) as connection:
        workflow = queries.workflow_row(connection)
        counts = queries.count_states(connection) if tally is None else dict(tally.counts)
        best = _best(connection, bool(workflow["minimize"]), tally)
        nodes = [dict(row) for row in queries.node_rows(connection)]
        taken_at = time.time()
        allocations = _allocations(connection, layout, statuses, taken_at)
        node_views: tuple[NodeView, ...] = ()
        if with_nodes or tally is not None:
            node_views = read_nodes(connection, allocations, nodes, taken_at, used=with_nodes)
        slots, slots_busy = _count_slots(allocations, nodes, _running(connection, tally))
    settings = json.loads(workflow["settings"])
    return Snapshot(
        name=workflow["name"],
        directory=layout.root,
        taken_at=taken_at,
        created_at=workflow["created_at"],
        started_at=workflow["started_at"],
        finished_at=workflow["finished_at"],
        outcome=workflow["outcome"] or "",
        search=workflow["search"],
        minimize=bool(workflow["minimize"]),
        max_evals=workflow["max_evals"],
        max_success=settings.get("max_success"),
        names=tuple(json.loads(workflow["names"])),
        settings=settings,
        counts=counts,
        slots=slots,
        slots_busy=slots_busy,
        best=record(best) if best is not None else None,
        allocations=allocations,
        nodes=node_views,
    )


def _allocations(connection: Connection, layout: Layout, heard: Heard, now: float) -> tuple[AllocationView, ...]:
    holder = lease.holder(connection)
    views = (view(dict(row), heard.get(row["number"])) for row in queries.allocation_rows(connection))
    views = (with_stop(one, layout) for one in views)
    return tuple(with_cancel(with_silence(one, holder, now), layout) for one in views)


def _count_slots(
    allocations: Iterable[AllocationView], nodes: Iterable[Mapping[str, Any]], running: Iterable[tuple[Place, int]]
) -> tuple[int, int]:
    """How many slots the nodes that are up have, and how many of these are busy."""
    live = {allocation.number for allocation in allocations if allocation.live}
    up = (node for node in nodes if node["state"] == "UP" and node["allocation"] in live)
    slots = {(node["allocation"], node["name"]): node["slots"] or 0 for node in up}
    busy = slots_in_use(slots, running)
    return sum(slots.values()), sum(min(busy[key], count) for key, count in slots.items())


def _running(connection: Connection, tally: Tally | None) -> list[tuple[Place, int]]:
    """Places, and how many evaluations run there."""
    if tally is not None:
        return [(one.place, 1) for one in tally.running.values()]
    return [(Place.of(row), row["evaluations"]) for row in queries.running_on(connection)]


def _best(connection: Connection, minimize: bool, tally: Tally | None) -> RowMapping | None:
    if tally is None:
        return next(iter(queries.best(connection, minimize, 1)), None)
    return None if tally.best is None else queries.evaluation_row(connection, tally.best.id)
