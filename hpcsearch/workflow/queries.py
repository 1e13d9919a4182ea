"""What is read from a workflow's database: small answers, fetched whole into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, case, func, literal_column, select

from hpcsearch.evaluation import State
from hpcsearch.objectives import OBJECTIVES, Told, told
from hpcsearch.workflow import schema

_evaluation = schema.evaluation.c


def workflow_row(connection: Connection) -> RowMapping:
    """The workflow's own row."""
    return connection.execute(select(schema.workflow)).mappings().one()


def allocation_rows(connection: Connection) -> Sequence[RowMapping]:
    """All allocations, the first first."""
    return connection.execute(select(schema.allocation).order_by(schema.allocation.c.number)).mappings().all()


def node_rows(connection: Connection, allocation: int | None = None) -> Sequence[RowMapping]:
    """The nodes of one allocation, or of all."""
    query = select(schema.node).order_by(schema.node.c.allocation, schema.node.c.name)
    if allocation is not None:
        query = query.where(schema.node.c.allocation == allocation)
    return connection.execute(query).mappings().all()


def count_states(connection: Connection) -> dict[State, int]:
    """How many evaluations are in each state; states with none are left out."""
    rows = connection.execute(select(_evaluation.state, func.count()).group_by(_evaluation.state))
    return {State(state): count for state, count in rows}


def place_of(table: Table) -> tuple[ColumnElement[Any], ...]:
    """Columns of where an evaluation or an attempt at it is: allocation, nodes (with commas between), slots."""
    nodes = func.coalesce(table.c.nodes, table.c.node).label("nodes")
    return table.c.allocation, nodes, func.coalesce(table.c.slots, literal_column("1")).label("slots")


def running_on(connection: Connection) -> Sequence[RowMapping]:
    """Where evaluations run, as ``place_of`` has it, and how many do so (``evaluations``)."""
    place = place_of(schema.evaluation)
    query = select(*place, func.count().label("evaluations")).where(_evaluation.state == State.RUNNING.value)
    return connection.execute(query.group_by(*place)).mappings().all()


def best(connection: Connection, minimize: bool, count: int) -> Sequence[RowMapping]:
    """The ``count`` best finished evaluations, the best first."""
    order = _evaluation.objective.asc() if minimize else _evaluation.objective.desc()
    query = select(schema.evaluation).where(_evaluation.state == State.FINISHED.value)
    return connection.execute(query.order_by(order, _evaluation.id).limit(count)).mappings().all()


def evaluation_row(connection: Connection, evaluation: int) -> RowMapping | None:
    """One evaluation."""
    return connection.execute(select(schema.evaluation).where(_evaluation.id == evaluation)).mappings().first()


def ids(connection: Connection) -> tuple[int, int] | None:
    """The lowest and the highest id of an evaluation; None while there is none."""
    lowest, highest = connection.execute(select(func.min(_evaluation.id), func.max(_evaluation.id))).one()
    return None if lowest is None else (lowest, highest)


def evaluations(connection: Connection, after: int = 0, page: int = 1000) -> Sequence[RowMapping]:
    """The next ``page`` evaluations with ids above ``after``."""
    query = select(schema.evaluation).where(_evaluation.id > after).order_by(_evaluation.id).limit(page)
    return connection.execute(query).mappings().all()


def error_kinds(connection: Connection) -> list[tuple[str, int, int]]:
    """Kinds of errors, how many evaluations have failed with each, and the latest of these: the most frequent first."""
    count = func.count()
    query = select(_evaluation.error_kind, count, func.max(_evaluation.id)).group_by(_evaluation.error_kind)
    failed = _evaluation.state.in_([State.FAILED.value, State.TIMED_OUT.value, State.LOST.value])
    ended = query.where(_evaluation.error_kind.is_not(None), _evaluation.gathered_at.is_not(None), failed)
    return [tuple(row) for row in connection.execute(ended.order_by(count.desc(), _evaluation.error_kind))]


def attempts(connection: Connection, evaluation: int) -> Sequence[RowMapping]:
    """The attempts at one evaluation, the first first."""
    table = schema.attempt
    query = select(table).where(table.c.evaluation == evaluation).order_by(table.c.number)
    return connection.execute(query).mappings().all()


def reports(connection: Connection, evaluation: int) -> Sequence[RowMapping]:
    """What one evaluation reported while it ran, in order."""
    table = schema.report
    query = select(table).where(table.c.evaluation == evaluation).order_by(table.c.id)
    return connection.execute(query).mappings().all()


def all_reports(connection: Connection, page: int = 5000) -> Iterator[list[tuple[int, float | None, dict[str, Any]]]]:
    """(evaluation, step or None, metrics) of all reports, in the order in which they came, page by page."""
    table, last = schema.report, 0
    while True:
        query = select(table.c.id, table.c.evaluation, table.c.step, table.c.metrics).where(table.c.id > last)
        rows = connection.execute(query.order_by(table.c.id).limit(page)).all()
        if not rows:
            return
        yield [(row.evaluation, row.step, json.loads(row.metrics)) for row in rows]
        last = rows[-1].id


def finished_with_reports(connection: Connection) -> list[int]:
    """The ids of the evaluations that finished and had reported."""
    reported = select(schema.report.c.evaluation).distinct()
    query = select(_evaluation.id).where(_evaluation.state == State.FINISHED.value, _evaluation.id.in_(reported))
    return list(connection.execute(query.order_by(_evaluation.id)).scalars())


def outcomes(connection: Connection, page: int = 2000) -> Iterator[list[tuple[dict[str, Any], Told, bool]]]:
    """(configuration, what it came to, whether it was stopped early) of all that ended, page by page.

    They are in the order in which they were gathered.
    """
    gathered, last = 0.0, 0
    metadata = _evaluation["metadata"]
    several = case((metadata.like(f'%"{OBJECTIVES}"%'), metadata)).label("several")  # others may be large: left there
    while True:
        query = (
            select(
                *(_evaluation.id, _evaluation.gathered_at, _evaluation.configuration, _evaluation.objective),
                *(_evaluation.state, several),
            )
            .where(
                (_evaluation.gathered_at > gathered) | and_(_evaluation.gathered_at == gathered, _evaluation.id > last)
            )
            .order_by(_evaluation.gathered_at, _evaluation.id)
            .limit(page)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        yield [
            (
                json.loads(row.configuration),
                told(row.objective, json.loads(row.several or "{}")),
                row.state == State.STOPPED.value,
            )
            for row in rows
        ]
        gathered, last = rows[-1].gathered_at, rows[-1].id


@dataclass(frozen=True)
class Unfinished:
    """An evaluation that is still to be run (again)."""

    id: int
    configuration: dict[str, Any]
    attempt: int
    failures: int
    state: State


def unfinished(connection: Connection) -> list[Unfinished]:
    """All evaluations without an end, the oldest first."""
    query = (
        select(_evaluation.id, _evaluation.configuration, _evaluation.attempt, _evaluation.failures, _evaluation.state)
        .where(_evaluation.gathered_at.is_(None))
        .order_by(_evaluation.id)
    )
    return [
        Unfinished(row.id, json.loads(row.configuration), row.attempt, row.failures, State(row.state))
        for row in connection.execute(query)
        if State(row.state) is not State.CANCELLED
    ]


def recent_durations(connection: Connection, count: int = 1000) -> list[float]:
    """Durations in seconds of the latest finished evaluations."""
    query = (
        select(_evaluation.duration_s)
        .where(_evaluation.state == State.FINISHED.value)
        .order_by(_evaluation.gathered_at.desc())
        .limit(count)
    )
    return [row.duration_s for row in connection.execute(query)]
