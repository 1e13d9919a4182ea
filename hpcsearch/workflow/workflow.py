"""A workflow as Python code sees it: its evaluations, the best of them, how many are where."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from hpcsearch.evaluation import Configuration, Failure, State
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout, find_layout

_PAGE = 2000


@dataclass(frozen=True)
class Report:
    """What a run function reported while it ran; ``at`` is in seconds since 1970, UTC."""

    attempt: int
    step: float | None
    at: float
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """An evaluation as it stands in the database. Times are in seconds since 1970, UTC; None is 'not yet' or 'none'."""

    id: int
    config: Configuration
    state: State
    objective: float | None
    metadata: Mapping[str, Any]
    failure: Failure | None
    attempts: int
    allocation: int | None
    node: str | None
    slot: int | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class Workflow:
    """A workflow. Nothing is kept in memory: every call reads the database anew, and never writes."""

    layout: Layout

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def directory(self) -> Path:
        return self.layout.root

    def evaluations(self) -> list[Record]:
        """All evaluations, by id."""
        return list(self._pages())

    def best(self, n: int = 1) -> list[Record]:
        """The ``n`` best finished evaluations, the best first, in the problem's own sense."""
        with reading(self.layout.database) as connection:
            minimize = bool(queries.workflow_row(connection)["minimize"])
            return _records(connection, queries.best(connection, minimize, n))

    def counts(self) -> dict[State, int]:
        """How many evaluations are in each state; states with none are left out."""
        with reading(self.layout.database) as connection:
            return queries.count_states(connection)

    def _pages(self) -> Iterator[Record]:
        # A transaction a page: a driver that wants to commit never waits for a whole reading.
        last = 0
        while True:
            with reading(self.layout.database) as connection:
                page = _records(connection, queries.evaluations(connection, after=last, page=_PAGE))
            if not page:
                return
            yield from page
            last = page[-1].id


def open_workflow(path_or_name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Workflow:
    """Opens an existing workflow, by its name or by the path of its directory.

    Args:
        path_or_name: which one.
        root: the folder of workflows that the name is looked for in; by default $HPCSEARCH_ROOT, else ./workflows.

    Raises:
        NotFoundError: there is none.
    """
    return Workflow(find_layout(path_or_name, root))


def record(row: RowMapping, reports: tuple[Report, ...] = ()) -> Record:
    """The record in one row of the evaluation table."""
    kind = row["error_kind"]
    failure = Failure(kind, row["error_message"] or "", row["traceback"] or "") if kind else None
    return Record(
        id=row["id"],
        config=json.loads(row["configuration"]),
        state=State(row["state"]),
        metadata=json.loads(row["metadata"] or "{}"),
        failure=failure,
        attempts=row["attempt"],
        reports=reports,
        **{name: row[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = ("objective", "allocation", "node", "slot", "started_at", "ended_at", "duration_s")


def _records(connection: Connection, rows: Iterable[RowMapping]) -> list[Record]:
    rows = list(rows)
    reports = _reports(connection, [row["id"] for row in rows])
    return [record(row, reports.get(row["id"], ())) for row in rows]


def _reports(connection: Connection, evaluations: list[int]) -> dict[int, tuple[Report, ...]]:
    columns = schema.report.c
    query = select(schema.report).where(columns.evaluation.in_(evaluations)).order_by(columns.evaluation, columns.id)
    rows = connection.execute(query).mappings().all()
    return {
        evaluation: tuple(Report(row["attempt"], row["step"], row["at"], json.loads(row["metrics"])) for row in group)
        for evaluation, group in itertools.groupby(rows, key=lambda row: row["evaluation"])
    }
