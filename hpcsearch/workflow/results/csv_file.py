"""results.csv: one line for every evaluation that came to an end, appended as they come.

Columns: the hyperparameters (alphabetical), ``id``, ``objective`` (empty for a failure), ``elapsed_sec`` (seconds from
the search's start until the result was gathered), ``state``, ``duration``, ``node``, ``start`` and ``end``.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from hpcsearch.workflow import schema

#: What follows the hyperparameters.
FIXED_COLUMNS = ("id", "objective", "elapsed_sec", "state", "duration", "node", "start", "end")


class ResultsFile:
    """Appends to a workflow's results.csv, and mends it after a crash.

    Mending makes a new file that takes the name, and appending goes on in that one: whatever a writer that was stopped
    meanwhile still has to append goes into the file that it had, which has no name any more.
    """

    def __init__(self, path: Path, names: Sequence[str], search_started_at: float) -> None:
        self._path = path
        self._names = list(names)
        self._zero_at = search_started_at
        self._header = [*self._names, *FIXED_COLUMNS]
        self._fd: int | None = None

    def append(self, rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Appends (configuration, evaluation row) pairs, in one write."""
        if self._fd is None:
            self._fd = _open(self._path)
        _write(self._fd, self._lines(rows))

    def mend(self, connection: Connection) -> None:
        """Brings the file up to the database: drops a torn last line, adds what was recorded and not yet written."""
        draft = self._path.with_suffix(".csv.new")
        draft.unlink(missing_ok=True)
        if self._path.exists():
            shutil.copyfile(self._path, draft)
        written = self._written(draft)
        if written is None:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(self._header)
            draft.write_text(header.getvalue(), encoding="utf-8")
            written = set()
        columns = schema.evaluation.c
        missing: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [
            (json.loads(row.configuration), dict(row._mapping))
            for row in connection.execute(
                select(schema.evaluation)
                .where(columns.gathered_at.is_not(None))
                .order_by(columns.gathered_at, columns.id)
            )
            if row.id not in written
        ]
        self.close()
        self._fd = _open(draft)
        self.append(missing)
        draft.replace(self._path)

    def close(self) -> None:
        """Closes the file; it is opened again when something is to be appended."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _lines(self, rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        careful = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        for configuration, row in rows:
            objective = row["objective"]
            # Before Python 3.13 a carriage return is not quoted by itself, and read as the end of the line.
            quoting = any("\r" in value for value in configuration.values() if isinstance(value, str))
            (careful if quoting else writer).writerow(
                [
                    *(configuration.get(name, "") for name in self._names),
                    row["id"],
                    "" if objective is None else repr(objective),
                    f"{row['gathered_at'] - self._zero_at:.3f}",
                    row["state"],
                    "" if row["duration_s"] is None else f"{row['duration_s']:.6g}",
                    row["node"] or "",
                    _iso(row["started_at"]),
                    _iso(row["ended_at"]),
                ]
            )
        return buffer.getvalue()

    def _written(self, path: Path) -> set[int] | None:
        """Ids in a file after its torn end is cut off; None when it is not there, or not as it should be."""
        if not path.exists():
            return None
        with path.open("rb+") as raw:
            raw.seek(0, os.SEEK_END)
            _cut_torn_line(raw)
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != self._header:
                return None
            position = len(self._names)  # a hyperparameter may be called id, too
            written: set[int] = set()
            try:
                for line in reader:
                    if len(line) != len(self._header):  # torn within a value of several lines
                        return None
                    written.add(int(line[position]))
            except (ValueError, csv.Error):
                return None
            return written


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _write(fd: int, text: str) -> None:
    view = memoryview(text.encode())
    while view:
        view = view[os.write(fd, view) :]


def _cut_torn_line(raw: Any, block: int = 65536) -> None:
    end = raw.tell()
    position = end
    while position > 0:
        start = max(0, position - block)
        raw.seek(start)
        newline = raw.read(position - start).rfind(b"\n")
        if newline >= 0:
            if start + newline + 1 < end:
                raw.truncate(start + newline + 1)
            return
        position = start
    raw.truncate(0)


def _iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
