"""The tables in a results.h5, as they were before they were written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py

from hpcsearch.errors import DatabaseError, NotFoundError, SchemaVersionError
from hpcsearch.workflow.results.h5_file import COUNTS, LAYOUT, TEXTS, TIMES
from hpcsearch.workflow.results.kinds import Kind
from hpcsearch.workflow.results.report_table import ReportTable
from hpcsearch.workflow.results.table import Columns, Table

#: Kind -> what makes a value of the number that stands for it in a column in which values are missing.
_TYPES: Mapping[str, Callable[[Any], Any]] = {Kind.INTEGER: int, Kind.BOOLEAN: bool}


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises:
        NotFoundError: there is no file.
        DatabaseError: it is no results.h5, or torn.
        SchemaVersionError: a newer hpcsearch wrote it.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", "Give a workflow's name, its directory, or its results.h5.")
    try:
        with h5py.File(path, "r", locking=False) as file:
            layout = int(file.attrs["layout"])
            if layout > LAYOUT:
                raise SchemaVersionError(
                    f"{path} was written by a newer hpcsearch (layout {layout}; this one knows {LAYOUT}).",
                    "Upgrade with 'pip install --upgrade hpcsearch'.",
                )
            yield file
    except (OSError, KeyError) as error:
        raise DatabaseError(
            f"{path} cannot be read as results of a workflow: {error}.",
            "Give a results.h5, or a file that 'hpcsearch results WF -o FILE.h5' wrote.",
        ) from None


def table_in(file: h5py.File) -> Table:
    """The evaluations."""
    columns: Columns = {column: _counts(file[name]) for name, column in COUNTS.items()}
    columns |= {column: _texts(file[name]) for name, column in TEXTS.items() if name in file}
    columns |= {column: _numbers(file["times"][name]) for name, column in TIMES.items()}
    columns |= {"objective": _numbers(file["objectives/objective"]), "duration_s": _numbers(file["times/duration"])}
    columns.setdefault("error_message", [None] * len(columns["id"]))
    everywhere = [True] * len(columns["id"])
    active = {name: mask[:].tolist() for name, mask in file["active"].items()}
    places = file["configurations"]
    configurations = {_name(places[place]): _column(places[place], active.get(place, everywhere)) for place in places}
    metadata = {_name(one): _column(one) for one in file["metadata"].values()}
    return Table(_workflow(file, columns, sorted(configurations)), configurations, metadata, columns)


def reports_in(file: h5py.File) -> ReportTable:
    """What run functions reported."""
    group = file["reports"]
    columns: Columns = {name: _counts(group[name]) for name in ("evaluation", "attempt")}
    columns |= {name: _numbers(group[name]) for name in ("step", "at")}
    return ReportTable(columns, {_name(one): _column(one) for one in group["metrics"].values()})


def _workflow(file: h5py.File, columns: Columns, names: Sequence[str]) -> dict[str, Any]:
    """The workflow's own row, as far as the file has it."""
    elapsed = zip(columns["gathered_at"], _numbers(file["times/elapsed"]), strict=True)
    return {
        **{name: str(file.attrs[name]) for name in ("name", "search", "problem", "run")},
        "names": json.dumps(names),
        "minimize": int(file["objectives/objective"].attrs["sense"] == "minimize"),
        "created_at": datetime.fromisoformat(str(file.attrs["created"])).timestamp(),
        "started_at": next((at - elapsed_s for at, elapsed_s in elapsed if at is not None), None),
    }


def _counts(dataset: h5py.Dataset) -> list[int | None]:
    return [None if value < 0 else value for value in dataset[:].tolist()]


def _numbers(dataset: h5py.Dataset) -> list[float | None]:
    return [None if value != value else value for value in dataset[:].tolist()]


def _texts(dataset: h5py.Dataset) -> list[str | None]:
    return [value or None for value in dataset.asstr()[:].tolist()]


def _column(dataset: h5py.Dataset, active: Sequence[bool] | None = None) -> list[Any]:
    """The values of a column, None where one is missing: where it was not ``active``, else where it is NaN or empty."""
    kind = dataset.attrs["kind"]
    if kind in (Kind.TEXT, Kind.MIXED):
        texts = dataset.asstr()[:].tolist()
        there = active if active is not None else [text != "" for text in texts]
        read = json.loads if kind == Kind.MIXED else str
        return [read(text) if has else None for text, has in zip(texts, there, strict=True)]
    convert = _TYPES.get(kind, float)
    return [None if value != value else convert(value) for value in dataset[:].tolist()]


def _name(dataset: h5py.Dataset) -> str:
    return str(dataset.attrs["name"])
