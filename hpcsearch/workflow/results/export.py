"""Results as a file of the reader's choice; its ending tells the format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.kinds import TIMES, Kind, kind_of_result
from hpcsearch.workflow.results.outputs import checked_ending, written
from hpcsearch.workflow.results.table import Columns, Table, iso_time, read_table

Writer = Callable[[Path, Layout, Table], None]


def check_export(layout: Layout, path: Path, force: bool) -> Writer:
    """How results are written to ``path``.

    Raises:
        UsageError: its ending is that of no format, it exists and ``force`` is not given, it is one of the workflow's
            own files, or what writes it is not installed.
    """
    ending = checked_ending(path, _WRITERS, force)
    if path.resolve() in [own.resolve() for own in (layout.results, layout.arrays)]:
        raise UsageError(f"{path} is the workflow's own, and written by its driver.", "Give another name.")
    if ending == ".parquet" and find_spec("pyarrow") is None:
        raise UsageError(
            f"{path} cannot be written, because pyarrow is not installed in this environment.",
            "Type \"pip install 'hpcsearch[parquet]'\", or choose another format by its ending, such as .csv or .h5.",
        )
    return _WRITERS[ending]


def export(layout: Layout, path: Path, *, top: int | None = None, force: bool = False) -> int:
    """Writes all evaluations by their ids, or the ``top`` best finished ones, the best first, to a file.

    Returns:
        how many these were.

    Raises:
        UsageError: see :func:`check_export`; or the file cannot be written.
        DatabaseError: the workflow's database cannot be read.
    """
    write = check_export(layout, path, force)
    table = read_table(layout.database, top)
    with written(path) as draft:
        write(draft, layout, table)
    return len(table)


def _plain(table: Table) -> Columns:
    columns = table.results()
    texts = {name: [None if at is None else iso_time(at) for at in columns[name]] for name in TIMES}
    return columns | texts


def _rows(columns: Columns) -> Iterator[dict[str, Any]]:
    return (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))


def _write_csv(path: Path, layout: Layout, table: Table) -> None:
    columns = _plain(table)
    # Before Python 3.13 a carriage return is not quoted by itself, and read as the end of the line.
    texts = (value for values in table.configurations.values() for value in values if isinstance(value, str))
    careful = any("\r" in text for text in texts)
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if careful else csv.QUOTE_MINIMAL)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_json(path: Path, layout: Layout, table: Table) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write("[")
        for number, row in enumerate(_rows(_plain(table))):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(row))
        file.write("\n]\n")


def _write_yaml(path: Path, layout: Layout, table: Table) -> None:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C is there where libyaml was
    with path.open("x", encoding="utf-8") as file:
        yaml.dump(list(_rows(_plain(table))), file, Dumper=dumper, sort_keys=False, allow_unicode=True)


def _write_parquet(path: Path, layout: Layout, table: Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {Kind.INTEGER: pa.int64(), Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_()}
    columns = table.results()
    data = {}
    for name, values in columns.items():
        kind = kind_of_result(name, values)
        if name in TIMES:
            microseconds = [None if at is None else round(at * 1e6) for at in values]
            data[name] = pa.array(microseconds, type=pa.timestamp("us", tz="UTC"))
        elif kind is Kind.MIXED:
            data[name] = pa.array([None if value is None else json.dumps(value) for value in values], type=pa.string())
        else:
            data[name] = pa.array(values, type=types.get(kind, pa.string()))
    pq.write_table(pa.table(data), path)


def _write_h5(path: Path, layout: Layout, table: Table) -> None:
    from hpcsearch.workflow.results.h5_file import write_file

    write_file(path, layout, table, linked=False)


_WRITERS: Mapping[str, Writer] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".yaml": _write_yaml,
    ".yml": _write_yaml,
    ".h5": _write_h5,
    ".parquet": _write_parquet,
}
