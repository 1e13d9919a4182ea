"""A workflow as Python code sees it: its evaluations, the best of them, how many are where."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, select

from hpcsearch.errors import HpcsearchError, NotFoundError, UsageError
from hpcsearch.evaluation import Configuration, Failure, State
from hpcsearch.objectives import several
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout, find_layout, places
from hpcsearch.workflow.results.table import Table, read_table

if TYPE_CHECKING:
    import numpy as np

    from hpcsearch.workflow.results.pareto import Goal
    from hpcsearch.workflow.results.report_table import ReportTable

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


@dataclass(frozen=True, repr=False)
class Workflow:
    """A workflow. Nothing is kept in memory: every call reads the database anew, and never writes."""

    layout: Layout

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def directory(self) -> Path:
        return self.layout.root

    def evaluations(self) -> Any:
        """All evaluations, by id, as a table to compute with: a pandas DataFrame with the columns of results.csv.

        Where pandas is not installed it is what :meth:`records` gives.
        """
        if find_spec("pandas") is None:
            return self.records()
        from hpcsearch.workflow.results.frame import frame

        return frame(self.table())

    def reports(self) -> Any:
        """All that run functions reported, in the order of its arrival: a pandas DataFrame.

        Its columns are evaluation, attempt, step, at (a point in time, in UTC) and one for each metric.

        Raises:
            UsageError: pandas is not installed; then :meth:`records` has each evaluation's reports.
        """
        if find_spec("pandas") is None:
            raise UsageError(
                "Reports are read as a table by pandas, which is not installed in this environment.",
                "Type \"pip install 'hpcsearch[pandas]'\", or take the reports of each of records().",
            )
        from hpcsearch.workflow.results.frame import report_frame

        return report_frame(self.report_table())

    def table(self) -> Table:
        """All evaluations, column by column."""
        return read_table(self.layout.database)

    def report_table(self) -> ReportTable:
        """All reports, column by column."""
        from hpcsearch.workflow.results.report_table import read_reports

        return read_reports(self.layout.database)

    def records(self) -> list[Record]:
        """All evaluations, by id, with everything that is known of them."""
        return list(self._pages())

    def evaluation(self, identity: int) -> Record:
        """The evaluation with that id.

        Raises:
            NotFoundError: there is none.
        """
        with reading(self.layout.database) as connection:
            row = queries.evaluation_row(connection, identity)
            if row is None:
                raise NotFoundError(
                    f"Workflow {self.name!r} has no evaluation {identity}; {has_numbers(queries.ids(connection))}.",
                    f"See 'hpcsearch results {self.layout.typed}'.",
                )
            return _records(connection, [row])[0]

    def best(self, n: int = 1) -> list[Record]:
        """The ``n`` best finished evaluations, the best first, in the problem's own sense."""
        with reading(self.layout.database) as connection:
            minimize = bool(queries.workflow_row(connection)["minimize"])
            return _records(connection, queries.best(connection, minimize, n))

    def pareto(self, goals: str | None = None) -> list[Record]:
        """The finished evaluations that no other one beats in several objectives: ``"accuracy:max,latency:min"``.

        The names are those that the run function returned, or ``objective``; without a sense it is the one that the run
        function gave, else the problem's. Without goals all objectives count. They come by the first goal, the best
        first.

        Raises:
            UsageError: a goal cannot be read, nothing has a number under its name, or there is only one objective.
        """
        from hpcsearch.workflow.results.pareto import pareto_front

        return pareto_front(self._pages(), self.goals(goals))

    def goals(self, typed: str | None = None) -> list[Goal]:
        """What :meth:`pareto` goes by."""
        from hpcsearch.workflow.results.pareto import parse_goals

        named = self.objectives()
        if typed is None and not named:
            raise UsageError(
                f"No evaluation of {self.name!r} has finished with several objectives.",
                "Type --pareto NAME:max,OTHER:min with names of other numbers that the run function returned.",
            )
        return parse_goals(",".join(named) if typed is None else typed, self._minimizes(), named)

    def objectives(self) -> list[str]:
        """The names of several objectives, as the run function gave them with the best evaluation; empty with one."""
        return [name for record in self.best() for name in several(record.objective, record.metadata)]

    def counts(self) -> dict[State, int]:
        """How many evaluations are in each state; states with none are left out."""
        with reading(self.layout.database) as connection:
            return queries.count_states(connection)

    def array(self, evaluation: int | Record, name: str) -> np.ndarray[Any, Any]:
        """The array that an evaluation saved under this name with :func:`hpcsearch.save_array`.

        Raises:
            NotFoundError: it has saved none of that name.
        """
        from hpcsearch import arrays  # h5py and numpy take longer to import than all the rest

        return arrays.read(self.layout.evaluation(_id(evaluation)), name)

    def arrays(self, evaluation: int | Record) -> list[str]:
        """The names of the arrays that an evaluation saved."""
        from hpcsearch import arrays

        return arrays.names(self.layout.evaluation(_id(evaluation)))

    def __repr__(self) -> str:
        try:
            counts = ", ".join(f"{count} {state.value}" for state, count in self.counts().items()) or "no evaluations"
            best = "".join(f"; best {record.objective:.6g} (evaluation {record.id})" for record in self.best())
        except HpcsearchError as error:  # what is shown in passing does not fail
            counts, best = error.message, ""
        return f"<Workflow {self.name!r} in {self.directory}: {counts}{best}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from hpcsearch.workflow.results.notebook import html_of

        return html_of(self)

    def _minimizes(self) -> bool:
        with reading(self.layout.database) as connection:
            return bool(queries.workflow_row(connection)["minimize"])

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
    """Opens an existing workflow, by its name, by the path of its directory, or from its results.h5.

    Args:
        path_or_name: which one. From the path of a results.h5 (any name that ends in .h5), and from a directory that
            has one and no database any more, comes all that the file holds.
        root: the folder of workflows that the name is looked for in; by default $HPCSEARCH_ROOT, else ./workflows.

    Raises:
        NotFoundError: there is none.
        DatabaseError: the file is not one of results.
    """
    try:
        return Workflow(find_layout(path_or_name, root))
    except NotFoundError:
        for path in (Path(path_or_name), *(one / "results.h5" for one in places(path_or_name, root))):
            if path.suffix == ".h5" and os.path.exists(path):  # noqa: PTH110 - a name may be too long
                from hpcsearch.workflow.archive import open_archive

                return open_archive(path)
        raise


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


def _id(evaluation: int | Record) -> int:
    return evaluation.id if isinstance(evaluation, Record) else evaluation


def has_numbers(ends: tuple[int, int] | None) -> str:
    """``it has 1 to 9``: what there is, where somebody has asked for what is not; ``ends`` are the first and last."""
    if ends is None:
        return "it has none yet"
    first, last = ends
    return f"it has {first}" if first == last else f"it has {first} to {last}"


def _records(connection: Connection, rows: Iterable[RowMapping]) -> list[Record]:
    rows = list(rows)
    ids = [row["id"] for row in rows]
    reports: dict[int, tuple[Report, ...]] = {}
    for begin in range(0, len(ids), _PAGE):  # a statement takes so many values, and not any number
        reports |= _reports(connection, ids[begin : begin + _PAGE])
    return [record(row, reports.get(row["id"], ())) for row in rows]


def _reports(connection: Connection, evaluations: list[int]) -> dict[int, tuple[Report, ...]]:
    columns = schema.report.c
    query = select(schema.report).where(columns.evaluation.in_(evaluations)).order_by(columns.evaluation, columns.id)
    rows = connection.execute(query).mappings().all()
    return {
        evaluation: tuple(Report(row["attempt"], row["step"], row["at"], json.loads(row["metrics"])) for row in group)
        for evaluation, group in itertools.groupby(rows, key=lambda row: row["evaluation"])
    }
