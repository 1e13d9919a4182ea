"""Results as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hpcsearch.workflow.results.kinds import TIMES, Kind, kind_of_result
from hpcsearch.workflow.results.report_table import ReportTable
from hpcsearch.workflow.results.table import Table

#: Kind -> the type of a column in which values are missing, where pandas would make floats or objects of them.
_NULLABLE = {Kind.INTEGER: "Int64", Kind.BOOLEAN: "boolean", Kind.NUMBER: "float64"}


def frame(table: Table) -> pd.DataFrame:
    """The columns of results.csv, every value in its own type; ``start`` and ``end`` are points in time, in UTC."""
    columns = table.results().items()
    return pd.DataFrame({name: _times(values) if name in TIMES else _series(name, values) for name, values in columns})


def report_frame(table: ReportTable) -> pd.DataFrame:
    """What run functions reported: evaluation, attempt, step, at, and the metrics by name."""
    own = {name: _times(values) if name == "at" else _series(name, values) for name, values in table.columns.items()}
    metrics = {name: _series(name, table.metrics[name]) for name in sorted(table.metrics.keys() - own.keys())}
    return pd.DataFrame({**own, **metrics})


def _series(name: str, values: Sequence[Any]) -> pd.Series[Any]:
    kind = kind_of_result(name, values)
    if kind is Kind.NUMBER or (None in values and kind in _NULLABLE):
        return pd.Series(values, dtype=_NULLABLE[kind])
    return pd.Series(values, dtype=object if kind is Kind.MIXED else None)


def _times(seconds: Sequence[float | None]) -> pd.Series[Any]:
    microseconds = [None if at is None else round(at * 1e6) for at in seconds]
    return pd.to_datetime(pd.Series(microseconds, dtype="Int64"), unit="us", utc=True)
