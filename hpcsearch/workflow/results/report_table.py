"""What run functions reported, column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.workflow import schema
from hpcsearch.workflow.results.table import Columns, add_points, pages

_PAGE = 20_000
_COLUMNS = ("evaluation", "attempt", "step", "at")


@dataclass(frozen=True)
class ReportTable:
    """Reports in the order of their arrival; every list has one value for each, None where it tells nothing.

    ``columns`` are evaluation, attempt, step and at (seconds since 1970, UTC), ``metrics`` has a list for each name.
    """

    columns: Columns
    metrics: Columns

    def rows(self) -> Iterator[tuple[int, int, float | None, float, dict[str, Any]]]:
        """(evaluation, attempt, step, at, metrics) of each."""
        for index, (evaluation, attempt, step, at) in enumerate(zip(*self.columns.values(), strict=True)):
            told = {name: values[index] for name, values in self.metrics.items() if values[index] is not None}
            yield evaluation, attempt, step, at, told


def read_reports(database: Path, evaluations: Collection[int] | None = None) -> ReportTable:
    """All that these evaluations reported, or all evaluations.

    Raises:
        DatabaseError: there is no readable database at ``database``.
    """
    table = ReportTable({name: [] for name in _COLUMNS}, {})
    count = 0
    for page in pages(database, schema.report, ("id", "metrics", *_COLUMNS), _PAGE):
        rows = [row for row in page if evaluations is None or row.evaluation in evaluations]
        if not rows:
            continue
        _, metrics, *values = zip(*rows, strict=True)
        add_points(table.metrics, count, metrics)
        for column, cells in zip(table.columns.values(), values, strict=True):
            column += cells
        count += len(rows)
    return table
