"""The best evaluations as points to use: of a results.csv, whoever wrote it, or of a workflow."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.errors import NotFoundError, UsageError
from hpcsearch.evaluation import State
from hpcsearch.workflow import queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.table import read_table

#: Columns that tell how an evaluation was run, and nothing of the point.
_LEFT_OUT = frozenset({"state", "duration", "node", "start", "end"})
#: What stands for a failure where every objective has to be a number: the least one of 32 bits.
_LEAST = -3.4028234e38
_WHOLE = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_TRUTH = {"True": True, "False": False}


@dataclass(frozen=True)
class Ranking:
    """The best points, the best first, out of so many that have an objective."""

    points: tuple[Mapping[str, Any], ...]
    finished: int


def best_of_workflow(layout: Layout, k: int) -> Ranking:
    """The ``k`` best evaluations of a workflow, in its problem's own sense."""
    columns = read_table(layout.database, k).results()
    with reading(layout.database) as connection:
        finished = queries.count_states(connection).get(State.FINISHED, 0)
    rows = zip(*columns.values(), strict=True)
    return Ranking(tuple(_point(dict(zip(columns, row, strict=True))) for row in rows), finished)


def best_of_file(path: Path, k: int, minimize: bool | None = None) -> Ranking:
    """The ``k`` best lines of a results.csv; failures are left out.

    Args:
        path: the file.
        k: how many.
        minimize: whether a lower objective is better; None for what the workflow says whose file it is, else not.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no results.csv; the message tells the line.
        DatabaseError: it is a workflow's, whose database cannot be read.
    """
    database = Layout(path.resolve().parent).database
    owned = os.path.isfile(database)  # noqa: PTH113 - pathlib raises in a folder that is closed
    rows = list(_rows(path, _text(path, growing=owned)))
    objectives = [_objective(path, number, row) for number, row in rows]
    if minimize is None:
        minimize = owned and _minimizes(database)
    ranked = [(objective, index) for index, objective in enumerate(objectives) if objective is not None]
    ranked.sort(key=lambda one: one if minimize else (-one[0], one[1]))
    names = rows[0][1] if rows else ()
    typed = {name: _parser([row[name] for _, row in rows]) for name in names}
    points = []
    for objective, index in ranked[:k]:
        values = {name: typed[name](text) if text else None for name, text in rows[index][1].items()}
        points.append(_point(values | {"objective": objective}))
    return Ranking(tuple(points), len(ranked))


def _point(values: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to a point, by name; hyperparameters that were inactive are left out."""
    return {
        name: _shortened(value) for name, value in sorted(values.items()) if name not in _LEFT_OUT and value is not None
    }


def _shortened(value: Any) -> Any:
    """A float to ten decimals, and to six digits where that is more."""
    if not isinstance(value, float):
        return value
    return round(value, 10) if abs(value) >= 1e-5 else float(f"{value:.5e}")


def _text(path: Path, growing: bool) -> str:
    """What is in the file; without its last line where that ``growing`` file has not got all of it yet."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", "Give a results.csv, or the name of a workflow.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Give a results.csv that you may read.") from None
    if growing:
        data = data[: data.rfind(b"\n") + 1]
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(path, data.count(b"\n", 0, error.start) + 1, "this is no text in UTF-8") from None


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its last line, cells by column) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(path, header)
        for cells in filter(None, reader):
            if len(cells) != len(header):
                raise _malformed(path, reader.line_num, f"the header has {len(header)} columns, this line {len(cells)}")
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise _malformed(path, reader.line_num, str(error)) from None


def _check_header(path: Path, header: list[str]) -> None:
    if "objective" not in header:
        raise _malformed(path, 1, "there is no column 'objective'")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise _malformed(path, 1, f"the column {twice!r} is there twice")


def _malformed(path: Path, line: int, reason: str) -> UsageError:
    return UsageError(f"{path}, line {line}: {reason}.", "Give a results.csv as a search writes it.")


def _objective(path: Path, number: int, row: Mapping[str, str]) -> float | None:
    """The objective in a row; None for a failure."""
    text = row["objective"].strip()
    if not text or text.startswith("F") or row.get("state", State.FINISHED) != State.FINISHED:
        return None
    try:
        value = float(text)
    except ValueError:
        raise _malformed(path, number, f"the objective {text!r} is no number") from None
    return value if math.isfinite(value) and value > _LEAST else None


def _minimizes(database: Path) -> bool:
    with reading(database) as connection:
        return bool(queries.workflow_row(connection)["minimize"])


def _parser(texts: Iterable[str]) -> Callable[[str], Any]:
    """What makes values of a column's texts, all of one type."""
    filled = [text for text in texts if text]
    if all(text in _TRUTH for text in filled):
        return _TRUTH.__getitem__
    if all(_WHOLE.fullmatch(text) for text in filled):
        return int
    return float if all(_NUMBER.fullmatch(text) for text in filled) else str
