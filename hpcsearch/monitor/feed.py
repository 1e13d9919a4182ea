"""The evaluations of a workflow, kept up to date by reading what is new in its database and nothing else.

Every change of an evaluation's state leaves a row in the table ``event`` whose id is higher than all before, and a new
evaluation has a higher id than all before: both are found by their primary keys, however large the tables are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from hpcsearch.evaluation import State
from hpcsearch.monitor.places import split_nodes
from hpcsearch.monitor.tally import Seen, Tally
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout

#: Rows that are read in one transaction: a driver that wants to commit waits for no more than a page.
_PAGE = 2000
#: At the first look so many reports are read, the latest: what each evaluation reported last is all that is kept.
_REPORTS = 50_000

#: Longer texts are no metrics.
_LONGEST_TEXT = 100

_evaluation, _event, _report = schema.evaluation.c, schema.event.c, schema.report.c

_NAMES = frozenset(
    "id configuration state objective metadata attempt allocation node nodes slot slots started_at ended_at duration_s "
    "gathered_at error_kind error_message".split()
)
_COLUMNS = [column for column in schema.evaluation.c if column.name in _NAMES]
_AS_THEY_ARE = ("id", "objective", "attempt", "allocation", "slot", "started_at", "ended_at", "duration_s")


class Feed:
    """Reads a workflow's evaluations, the first time all of them, and from then on what has changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._begin(minimize=False)

    def _begin(self, minimize: bool) -> None:
        self.tally = Tally(minimize)
        self._last_evaluation = 0
        self._last_event: int | None = None
        self._last_report: int | None = None
        self._reported: dict[int, dict[str, Any]] = {}

    def refresh(self) -> bool:
        """Reads what is new, and tells whether there was any.

        Raises:
            DatabaseError: the database cannot be read.
        """
        with reading(self._layout.database) as connection:
            minimize = bool(queries.workflow_row(connection)["minimize"])
            event = connection.execute(select(func.max(_event.id))).scalar() or 0
            report = connection.execute(select(func.max(_report.id))).scalar() or 0
        # Another workflow of the same name, or one that has learnt from its problem what is better
        if minimize is not self.tally.minimize or event < (self._last_event or 0):
            self._begin(minimize)
        reported = self._read_reports(report)
        changed = self._read_changed(event, reported) if self._last_event is not None else 0
        self._last_event = event
        return self._read_new() + changed > 0

    def _read_new(self) -> int:
        total = 0
        while True:
            query = select(*_COLUMNS).where(_evaluation.id > self._last_evaluation)
            with reading(self._layout.database) as connection:
                rows = connection.execute(query.order_by(_evaluation.id).limit(_PAGE)).mappings().all()
            self._take(rows)
            total += len(rows)
            if len(rows) < _PAGE:
                return total

    def _read_changed(self, to_event: int, more: Iterable[int]) -> int:
        ids = set(more)
        last = self._last_event or 0
        while last < to_event:
            upper = min(to_event, last + _PAGE)
            query = select(_event.evaluation).where(_event.id > last, _event.id <= upper).distinct()
            with reading(self._layout.database) as connection:
                ids.update(connection.execute(query).scalars())
            last = upper
        known = sorted(identity for identity in ids if identity <= self._last_evaluation)
        for begin in range(0, len(known), _PAGE):
            query_rows = select(*_COLUMNS).where(_evaluation.id.in_(known[begin : begin + _PAGE]))
            with reading(self._layout.database) as connection:
                rows = connection.execute(query_rows).mappings().all()
            self._take(rows)
        return len(known)

    def _read_reports(self, to_report: int) -> set[int]:
        """Takes what was reported since; returns the evaluations that did so."""
        last = max(0, to_report - _REPORTS) if self._last_report is None else self._last_report
        self._last_report = to_report
        told: set[int] = set()
        while last < to_report:
            upper = min(to_report, last + _PAGE)
            with reading(self._layout.database) as connection:
                told |= self._take_reports(connection, last, upper)
            last = upper
        return told

    def _take_reports(self, connection: Connection, above: int, upper: int) -> set[int]:
        query = select(_report.evaluation, _report.step, _report.metrics).order_by(_report.id)
        told = set()
        for row in connection.execute(query.where(_report.id > above, _report.id <= upper)):
            values = self._reported.setdefault(row.evaluation, {})
            values |= json.loads(row.metrics)
            if row.step is not None:
                values["step"] = row.step
            told.add(row.evaluation)
        return told

    def _take(self, rows: Iterable[RowMapping]) -> None:
        for row in rows:
            self.tally.put(seen(dict(row), self._reported.get(row["id"], {})))
            self._last_evaluation = max(self._last_evaluation, row["id"])


def seen(row: Mapping[str, Any], reported: Mapping[str, Any]) -> Seen:
    """An evaluation from its row, and what it reported last."""
    return Seen(
        config=json.loads(row["configuration"]),
        state=State(row["state"]),
        metrics=_small({**reported, **json.loads(row["metadata"] or "{}")}),
        nodes=split_nodes(row["nodes"] or row["node"]),
        slots=row["slots"] or 1,
        gathered_at=row["gathered_at"],
        error_kind=row["error_kind"] or "",
        error_message=row["error_message"] or "",
        **{name: row[name] for name in _AS_THEY_ARE},
    )


def _small(values: Mapping[str, Any]) -> dict[str, Any]:
    """What can be sorted by, and is kept of every evaluation: numbers and short texts."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT)
    }
