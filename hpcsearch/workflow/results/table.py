"""Evaluations column by column: what results are exported from.

They are read page by page, a transaction a page: a driver that wants to commit never waits for a whole reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table as SqlTable
from sqlalchemy import select

from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading

_PAGE = 5000

# What is read of each evaluation.
_JSON_COLUMNS = ("configuration", "metadata")
_COLUMNS = (
    *("id", "state", "objective", "attempt", "allocation", "node", "slot", "error_kind", "error_message"),
    *("proposed_at", "started_at", "ended_at", "gathered_at", "duration_s"),
)

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Table:
    """Evaluations of a workflow; every list has one value for each of them, None where there is none.

    ``configurations`` has a list for each hyperparameter, ``metadata`` for each name under which a run function
    returned something, ``columns`` for the rest. ``workflow`` is the workflow's own row.
    """

    workflow: Mapping[str, Any]
    configurations: Columns
    metadata: Columns
    columns: Columns

    def __len__(self) -> int:
        return len(self.columns["id"])

    @property
    def elapsed_s(self) -> list[float | None]:
        """Seconds from the search's begin until each result was gathered."""
        zero_at = self.workflow["started_at"] or self.workflow["created_at"]
        return [None if at is None else round(at - zero_at, 3) for at in self.columns["gathered_at"]]

    def results(self) -> Columns:
        """The columns of results.csv; ``start`` and ``end`` are in seconds since 1970, UTC."""
        columns = self.columns
        return self.configurations | {
            "id": columns["id"],
            "objective": columns["objective"],
            "elapsed_sec": self.elapsed_s,
            "state": columns["state"],
            "duration": columns["duration_s"],
            "node": columns["node"],
            "start": columns["started_at"],
            "end": columns["ended_at"],
        }


def read_table(database: Path, top: int | None = None) -> Table:
    """All evaluations by their ids, or the ``top`` best finished ones, the best first.

    Raises:
        DatabaseError: there is no readable database at ``database``.
    """
    with reading(database) as connection:
        workflow = queries.workflow_row(connection)
    configurations: Columns = {name: [] for name in json.loads(workflow["names"])}
    metadata: Columns = {}
    columns: Columns = {name: [] for name in _COLUMNS}
    count = 0
    everything = pages(database, schema.evaluation, (*_JSON_COLUMNS, *_COLUMNS), _PAGE)
    for page in everything if top is None else _best(database, bool(workflow["minimize"]), top):
        points, returned, *values = zip(*page, strict=True)
        add_points(configurations, count, points)
        add_points(metadata, count, [text or "{}" for text in returned])
        for column, cells in zip(columns.values(), values, strict=True):
            column += cells
        count += len(page)
    return Table(dict(workflow), configurations, metadata, columns)


def add_points(columns: Columns, count: int, texts: Sequence[str]) -> None:
    """Adds JSON objects to columns that have ``count`` values so far; a column begins with the first object with it."""
    points = json.loads(f"[{','.join(texts)}]")
    for name in columns.keys() | {name for point in points for name in point}:
        columns.setdefault(name, [None] * count).extend(point.get(name) for point in points)


def pages(database: Path, table: SqlTable, names: Iterable[str], size: int) -> Iterator[Sequence[Any]]:
    """Columns of all rows of a table by their ids, of which one of the columns is; so many rows a page."""
    columns = table.c
    query = select(*(columns[name] for name in names)).order_by(columns.id).limit(size)
    last = 0
    while True:
        with reading(database) as connection:
            page = connection.execute(query.where(columns.id > last)).all()
        if not page:
            return
        yield page
        last = page[-1].id


def _best(database: Path, minimize: bool, top: int) -> Iterator[Sequence[Any]]:
    with reading(database) as connection:
        rows = queries.best(connection, minimize, top)
    if rows:
        yield [tuple(row[name] for name in (*_JSON_COLUMNS, *_COLUMNS)) for row in rows]


def iso_time(at: float) -> str:
    """A point in time as results.csv has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
