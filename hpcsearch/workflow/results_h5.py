"""results.h5: a workflow's evaluations and reports as arrays, for those who go on with numpy, MATLAB or Julia.

Layout (every dataset has one entry for each evaluation, or each report, in the order of their ids)::

    /configurations/<hyperparameter>   whole numbers, numbers, truth values or text; NaN or "" where it was inactive
    /evaluations/<column>              id, state, objective, duration_s, started_at, ended_at, node, slot, attempt
    /reports/<column>                  evaluation, attempt, step, at, metrics (JSON text)

Units are in the attribute ``unit`` of a dataset, facts of the workflow in the attributes of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from sqlalchemy import Connection, RowMapping, select

from hpcsearch.workflow import queries, schema

_NUMBER, _TEXT, _WHOLE = np.float64, h5py.string_dtype(), np.int64

#: Column -> its type and unit.
_EVALUATION_COLUMNS: Mapping[str, tuple[Any, str]] = {
    "id": (_WHOLE, ""),
    "state": (_TEXT, ""),
    "objective": (_NUMBER, ""),
    "duration_s": (_NUMBER, "s"),
    "started_at": (_NUMBER, "s since 1970-01-01 UTC"),
    "ended_at": (_NUMBER, "s since 1970-01-01 UTC"),
    "gathered_at": (_NUMBER, "s since 1970-01-01 UTC"),
    "node": (_TEXT, ""),
    "slot": (_NUMBER, ""),
    "attempt": (_WHOLE, ""),
}
_REPORT_COLUMNS: Mapping[str, tuple[Any, str]] = {
    "evaluation": (_WHOLE, ""),
    "attempt": (_WHOLE, ""),
    "step": (_NUMBER, ""),
    "at": (_NUMBER, "s since 1970-01-01 UTC"),
    "metrics": (_TEXT, "JSON"),
}


def write_arrays(connection: Connection, path: Path) -> None:
    """Writes the file anew, under another name first: whoever opens it finds the old one or the new one, whole."""
    draft = path.with_name(f".{path.name}.new")
    with h5py.File(draft, "w") as file:
        workflow = queries.workflow_row(connection)
        file.attrs.update(
            {name: workflow[name] for name in ("name", "search", "problem", "run", "created_at")}
            | {"minimize": bool(workflow["minimize"])}
        )
        rows = [row for page in _pages(connection) for row in page]
        _write(file.create_group("evaluations"), rows, _EVALUATION_COLUMNS)
        configurations = [json.loads(row["configuration"]) for row in rows]
        group = file.create_group("configurations")
        for name in json.loads(workflow["names"]):
            _dataset(group, name, [configuration.get(name) for configuration in configurations], None, "")
        reports = connection.execute(select(schema.report).order_by(schema.report.c.id)).mappings().all()
        _write(file.create_group("reports"), reports, _REPORT_COLUMNS)
    draft.replace(path)


def _pages(connection: Connection) -> Iterable[Sequence[RowMapping]]:
    last = 0
    while page := queries.evaluations(connection, after=last):
        yield page
        last = page[-1]["id"]


def _write(group: h5py.Group, rows: Sequence[RowMapping], columns: Mapping[str, tuple[Any, str]]) -> None:
    for name, (kind, unit) in columns.items():
        _dataset(group, name, [row[name] for row in rows], kind, unit)


def _dataset(group: h5py.Group, name: str, values: Sequence[Any], kind: Any, unit: str) -> None:
    """One compressed dataset, of the type that its values have where ``kind`` is None."""
    kind = kind or _kind(values)
    missing = "" if kind is _TEXT else np.nan
    cells = [missing if value is None else value for value in values]
    # An empty dataset cannot be chunked by its own shape.
    options: dict[str, Any] = {"compression": "gzip"} if cells else {}
    data = np.array([str(cell) for cell in cells] if kind is _TEXT else cells, dtype=kind)
    dataset = group.create_dataset(name, data=data, dtype=kind, **options)
    if unit:
        dataset.attrs["unit"] = unit


def _kind(values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.bool_
    if kinds == {int}:
        return _WHOLE
    return _NUMBER if kinds <= {int, float, type(None)} else _TEXT
