"""results.h5: a workflow's evaluations and reports as arrays, for those who go on with numpy, MATLAB or Julia.

docs/results.rst describes the layout, which is what readers rely on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py

from hpcsearch import arrays
from hpcsearch.drafts import draft_of
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.datasets import add_column, add_counts, add_mask, add_numbers, add_text, utf8
from hpcsearch.workflow.results.report_table import ReportTable, read_reports
from hpcsearch.workflow.results.table import Columns, Table, iso_time, read_table

#: Raised by one when whoever reads the layout before would not find his way.
LAYOUT = 1

_UTC = "s since 1970-01-01 00:00:00 UTC"

# Dataset -> the column of the table that it holds.
COUNTS = {"ids": "id", "slots": "slot", "allocations": "allocation", "attempts": "attempt"}
TEXTS = {"states": "state", "nodes": "node", "errors": "error_kind", "messages": "error_message"}
TIMES = {"proposed": "proposed_at", "started": "started_at", "ended": "ended_at", "gathered": "gathered_at"}


def write_results_h5(layout: Layout) -> None:
    """Writes the workflow's results.h5 anew; the arrays that run functions saved are links into their files.

    Raises:
        DatabaseError: the database cannot be read.
        OSError: the file cannot be written; the old one is as it was.
    """
    for left in layout.root.glob(f".{layout.arrays.name}.*"):  # by one that was killed at it
        left.unlink(missing_ok=True)
    with draft_of(layout.arrays) as draft:
        write_file(draft, layout, read_table(layout.database))


def write_file(path: Path, layout: Layout, table: Table, *, linked: bool = True) -> None:
    """Writes a new file of the evaluations in ``table``, with their reports and the arrays that they saved.

    Links hold in the workflow's directory, wherever that is moved to; arrays that are not ``linked`` are copied.
    """
    ids = frozenset(table.columns["id"])
    with h5py.File(path, "x", locking=False) as file:
        _add_workflow(file, table.workflow)
        _add_evaluations(file, table)
        _add_configurations(file, table.configurations)
        _add_columns(file.create_group("metadata"), table.metadata)
        _add_reports(file.create_group("reports"), read_reports(layout.database, ids))
        _add_arrays(file.create_group("arrays"), layout, ids, linked)


def _add_workflow(file: h5py.File, workflow: Mapping[str, Any]) -> None:
    file.attrs.update({name: utf8(workflow[name]).decode() for name in ("name", "search", "problem", "run")})
    file.attrs.update({"layout": LAYOUT, "created": iso_time(workflow["created_at"])})


def _add_evaluations(file: h5py.File, table: Table) -> None:
    columns = table.columns
    for name, column in COUNTS.items():
        add_counts(file, name, columns[column])
    for name, column in TEXTS.items():
        add_text(file, name, columns[column])
    objective = add_numbers(file.create_group("objectives"), "objective", columns["objective"])
    objective.attrs["sense"] = "minimize" if table.workflow["minimize"] else "maximize"
    times = file.create_group("times")
    for name, column in TIMES.items():
        add_numbers(times, name, columns[column], _UTC)
    add_numbers(times, "elapsed", table.elapsed_s, "s")
    add_numbers(times, "duration", columns["duration_s"], "s")


def _add_configurations(file: h5py.File, configurations: Columns) -> None:
    group, active = file.create_group("configurations"), file.create_group("active")
    for name, values in configurations.items():
        add_column(group, name, values)
        if None in values:
            add_mask(active, name, [value is not None for value in values])


def _add_reports(group: h5py.Group, reports: ReportTable) -> None:
    columns = reports.columns
    add_counts(group, "evaluation", columns["evaluation"])
    add_counts(group, "attempt", columns["attempt"])
    add_numbers(group, "step", columns["step"])
    add_numbers(group, "at", columns["at"], _UTC)
    _add_columns(group.create_group("metrics"), reports.metrics)


def _add_columns(group: h5py.Group, columns: Columns) -> None:
    for name in sorted(columns):
        add_column(group, name, columns[name])


def _add_arrays(group: h5py.Group, layout: Layout, ids: Collection[int], linked: bool) -> None:
    relative = layout.evaluations.relative_to(layout.root)
    for identity, name in arrays.saved(layout.evaluations):
        if identity not in ids:
            continue
        place = group.require_group(name)
        if linked:
            file = arrays.file_of(relative / str(identity), name)
            place[str(identity)] = h5py.ExternalLink(file, arrays.DATASET)
        else:
            with h5py.File(arrays.file_of(layout.evaluation(identity), name), "r", locking=False) as saved:
                saved.copy(arrays.DATASET, place, name=str(identity))
