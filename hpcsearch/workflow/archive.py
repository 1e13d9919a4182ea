"""A workflow read back from its results.h5, wherever that was copied to, with or without the rest of its directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsearch import arrays
from hpcsearch.errors import NotFoundError
from hpcsearch.evaluation import Failure, State
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.h5_reading import opened, reports_in, table_in
from hpcsearch.workflow.results.report_table import ReportTable
from hpcsearch.workflow.results.table import Table
from hpcsearch.workflow.workflow import Record, Report, Workflow, has_numbers

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, repr=False)
class Archive(Workflow):
    """A workflow as a results.h5 has it. Every call reads the file anew, and never writes."""

    file: Path

    @property
    def name(self) -> str:
        with opened(self.file) as file:
            return str(file.attrs["name"])

    def table(self) -> Table:
        with opened(self.file) as file:
            return table_in(file)

    def report_table(self) -> ReportTable:
        with opened(self.file) as file:
            return reports_in(file)

    def records(self) -> list[Record]:
        with opened(self.file) as file:
            table, told = table_in(file), reports_in(file)
        reports: dict[int, list[Report]] = {}
        for evaluation, attempt, step, at, metrics in told.rows():
            reports.setdefault(evaluation, []).append(Report(attempt, step, at, metrics))
        return [_record(table, index, reports.get(identity, ())) for index, identity in enumerate(table.columns["id"])]

    def evaluation(self, identity: int) -> Record:
        records = {record.id: record for record in self.records()}
        if identity not in records:
            ends = (min(records), max(records)) if records else None
            raise NotFoundError(f"{self.file} has no evaluation {identity}; {has_numbers(ends)}.")
        return records[identity]

    def best(self, n: int = 1) -> list[Record]:
        sign = 1.0 if self._minimizes() else -1.0
        records = self.records()
        finished = [(sign * one.objective, one.id, one) for one in records if one.objective is not None]
        return [one for _, _, one in sorted(finished) if one.state is State.FINISHED][:n]

    def _minimizes(self) -> bool:
        return bool(self.table().workflow["minimize"])

    def _pages(self) -> Iterator[Record]:
        yield from self.records()

    def counts(self) -> dict[State, int]:
        return dict(Counter(map(State, self.table().columns["state"])))

    def array(self, evaluation: int | Record, name: str) -> np.ndarray[Any, Any]:
        identity = _id(evaluation)
        with opened(self.file) as file:
            saved = file["arrays"].get(name, {})
            if str(identity) not in saved:
                known = ", ".join(self.arrays(identity)) or "none"
                raise NotFoundError(f"Evaluation {identity} has saved no array {name!r} (arrays there: {known}).")
            try:
                return arrays.values_of(saved[str(identity)])
            except KeyError:  # a link that leads nowhere
                raise NotFoundError(
                    f"The array {name!r} of evaluation {identity} is not in {self.file}, which has a link to its file.",
                    "Keep results.h5 in the workflow's directory, or copy with 'hpcsearch results WF -o FILE.h5'.",
                ) from None

    def arrays(self, evaluation: int | Record) -> list[str]:
        with opened(self.file) as file:
            return sorted(name for name, saved in file["arrays"].items() if str(_id(evaluation)) in saved)


def open_archive(path: Path) -> Archive:
    """The workflow in a results.h5.

    Raises:
        NotFoundError: there is no such file.
        DatabaseError: it is no results.h5.
    """
    with opened(path):
        return Archive(Layout(path.absolute().parent), path.absolute())


def _id(evaluation: int | Record) -> int:
    return evaluation.id if isinstance(evaluation, Record) else evaluation


def _record(table: Table, index: int, reports: Sequence[Report]) -> Record:
    columns = {name: values[index] for name, values in table.columns.items()}
    kind = columns["error_kind"]
    names = ("id", "objective", "allocation", "node", "slot", "started_at", "ended_at", "duration_s")
    return Record(
        config=_there(table.configurations, index),
        metadata=_there(table.metadata, index),
        state=State(columns["state"]),
        failure=Failure(kind, columns["error_message"] or "") if kind else None,
        attempts=columns["attempt"],
        reports=tuple(reports),
        **{name: columns[name] for name in names},
    )


def _there(columns: dict[str, list[Any]], index: int) -> dict[str, Any]:
    return {name: values[index] for name, values in columns.items() if values[index] is not None}
