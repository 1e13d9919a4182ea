"""One evaluation with all that is known of it: from the database, and from its own directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.evaluation import State
from hpcsearch.workflow import queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.workflow import Record, Workflow

#: How much is read of the end of what an evaluation printed: bytes, and the lines that are kept of them.
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 10


@dataclass(frozen=True)
class Attempt:
    """One attempt at an evaluation. Times are in seconds since 1970, UTC."""

    number: int
    state: State
    allocation: int
    node: str
    nodes: str | None  # all of them, with commas between, where there are several; node is the first
    slot: int | None
    slots: int | None  # how many it takes, on all its nodes together; slot is the first
    started_at: float | None
    ended_at: float | None
    error_kind: str | None
    error_message: str | None

    @property
    def duration_s(self) -> float | None:
        return None if self.started_at is None or self.ended_at is None else self.ended_at - self.started_at


@dataclass(frozen=True)
class Detail:
    """An evaluation as it stands."""

    workflow: str
    typed: str  # what to type for the workflow
    record: Record
    attempts: tuple[Attempt, ...]
    directory: Path
    files: tuple[tuple[str, int], ...]  # paths below the directory, and their sizes in bytes
    last_lines: tuple[str, ...]  # of what it printed


def read_detail(layout: Layout, evaluation: int) -> Detail:
    """Reads one evaluation.

    Raises:
        NotFoundError: there is none of that id.
        DatabaseError: the database cannot be read.
    """
    record = Workflow(layout).evaluation(evaluation)
    with reading(layout.database) as connection:
        rows = [dict(row) for row in queries.attempts(connection, evaluation)]
    names = Attempt.__dataclass_fields__.keys() - {"state"}
    directory = layout.evaluation(evaluation)
    return Detail(
        workflow=layout.name,
        typed=layout.typed,
        record=record,
        attempts=tuple(Attempt(state=State(row["state"]), **{name: row[name] for name in names}) for row in rows),
        directory=directory,
        files=tuple(sorted(_files(directory))),
        last_lines=tuple(_last_lines(layout.output(evaluation))),
    )


def _files(directory: Path) -> Iterator[tuple[str, int]]:
    for folder, _, names in os.walk(directory):  # which does not follow links
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):  # it runs, and has just moved or removed it
                yield str(path.relative_to(directory)), path.lstat().st_size


def _last_lines(file: Path) -> list[str]:
    """The last lines of a log; of a line that was written over, as progress bars are, what stood there last."""
    try:
        with file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:  # it has printed nothing
        return []
    whole = lines[1:] if size > _TAIL_BYTES and len(lines) > 1 else lines
    return [line.rstrip("\r").rpartition("\r")[2] for line in whole if line.strip()][-_TAIL_LINES:]
