"""All that figures are made of, read from a workflow's database once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import func, select

from hpcsearch.evaluation import State
from hpcsearch.monitor.places import Place
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.table import Table, read_table

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class FailureGroup:
    """Evaluations that ended for the same reason."""

    state: str
    kind: str
    message: str
    count: int
    first: int  # the lowest id among them


@dataclass(frozen=True)
class Busy:
    """What one attempt at an evaluation takes of one of its nodes. Times are in seconds since 1970, UTC."""

    allocation: int
    node: str
    slots: int
    started_at: float
    ended_at: float | None


@dataclass(frozen=True)
class Study:
    """A workflow at one moment. Indices count the evaluations in ``table``, from 0."""

    layout: Layout
    snapshot: Snapshot
    table: Table
    failures: tuple[FailureGroup, ...]
    attempts: tuple[Busy, ...]

    @property
    def minimize(self) -> bool:
        return self.snapshot.minimize

    @property
    def row(self) -> Mapping[str, Any]:
        """The workflow's own row in its database."""
        return self.table.workflow

    @cached_property
    def ids(self) -> Indices:
        return np.array(self.table.columns["id"], dtype=np.intp)

    @cached_property
    def objective(self) -> Numbers:
        """NaN where there is none."""
        return np.array(self.table.columns["objective"], dtype=np.float64)

    @cached_property
    def elapsed_s(self) -> Numbers:
        return np.array(self.table.elapsed_s, dtype=np.float64)

    @cached_property
    def valued(self) -> Indices:
        """Those that have an objective, in the order in which their results were recorded."""
        (found,) = np.nonzero(~np.isnan(self.objective) & ~np.isnan(self.elapsed_s))
        return found[np.argsort(self.elapsed_s[found], kind="stable")]

    @cached_property
    def ranked(self) -> Indices:
        """The finished ones, the best first."""
        states = np.array(self.table.columns["state"])
        (found,) = np.nonzero((states == State.FINISHED.value) & ~np.isnan(self.objective))
        sign = 1.0 if self.minimize else -1.0
        return found[np.argsort(sign * self.objective[found], kind="stable")]

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Hyperparameters that do not have the same value everywhere."""
        columns = self.table.configurations
        return tuple(name for name in columns if len(set(map(repr, columns[name]))) > 1)

    def configuration(self, index: int) -> dict[str, Any]:
        """The active values of one evaluation."""
        columns = self.table.configurations
        return {name: columns[name][index] for name in columns if columns[name][index] is not None}


def read_study(layout: Layout) -> Study:
    """Reads a workflow; its scheduler is asked as for ``hpcsearch status``.

    Raises:
        DatabaseError: the database cannot be read.
    """
    snapshot = take_snapshot(layout, with_nodes=True)
    with reading(layout.database) as connection:
        failures = tuple(FailureGroup(*row) for row in connection.execute(_FAILURES))
        rows = connection.execute(_ATTEMPTS).mappings().all()
    slots = {(node.allocation, node.name): node.slots for node in snapshot.nodes}
    attempts = tuple(
        Busy(allocation, node, count, row["started_at"], row["ended_at"])
        for row in rows
        for (allocation, node), count in Place.of(row).on_each(slots)
    )
    return Study(layout, snapshot, read_table(layout.database), failures, attempts)


_evaluation, _attempt = schema.evaluation.c, schema.attempt.c
_ENDED_BADLY = (State.FAILED.value, State.TIMED_OUT.value, State.LOST.value)
_REASON = (_evaluation.state, func.coalesce(_evaluation.error_kind, ""), func.coalesce(_evaluation.error_message, ""))
_FAILURES = (
    select(*_REASON, func.count(), func.min(_evaluation.id))
    .where(_evaluation.state.in_(_ENDED_BADLY))
    .group_by(*_REASON)
    .order_by(func.count().desc(), func.min(_evaluation.id))
)
_ATTEMPTS = select(*queries.place_of(schema.attempt), _attempt.started_at, _attempt.ended_at).where(
    _attempt.started_at.is_not(None)
)


@dataclass(frozen=True)
class Curve:
    """What one evaluation reported of one metric, by step where there are steps, else by seconds from its begin."""

    evaluation: int
    objective: float | None
    at: tuple[float, ...]
    values: tuple[float, ...]


def read_reports(layout: Layout, evaluations: Sequence[int]) -> dict[int, list[tuple[float | None, float, Any]]]:
    """(step, at, metrics) of the reports of some evaluations, in their order."""
    table = schema.report.c
    query = select(table.evaluation, table.step, table.at, table.metrics).where(table.evaluation.in_(evaluations))
    with reading(layout.database) as connection:
        rows = connection.execute(query.order_by(table.id)).all()
    reports: dict[int, list[tuple[float | None, float, Any]]] = {}
    for evaluation, step, at, metrics in rows:
        reports.setdefault(evaluation, []).append((step, at, json.loads(metrics)))
    return reports
