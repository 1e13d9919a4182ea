"""What evaluations, drivers and allocations print: in which files it is, and whether more may come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from hpcsearch.errors import DatabaseError, NotFoundError
from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import view
from hpcsearch.monitor.snapshot import hear_schedulers
from hpcsearch.workflow import queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.workflow import Workflow, has_numbers


@dataclass(frozen=True)
class Output:
    """``files`` hold what ``title`` has printed; ``ended`` tells whether that was all.

    A scheduler is asked, as seldom as by everybody else, only while the database knows of no end.
    """

    title: str
    files: tuple[Path, ...]
    ended: Callable[[], bool]


def of_evaluation(layout: Layout, identity: int, rank: int | None = None) -> Output:
    """What an evaluation has printed, or one of its ranks; raises NotFoundError when there is none of that id."""
    Workflow(layout).evaluation(identity)

    def ended(connection: Connection) -> bool:
        row = queries.evaluation_row(connection, identity)
        return row is None or row["gathered_at"] is not None or row["state"] == State.CANCELLED.value

    title, file = f"Evaluation {identity} of {layout.name!r}", layout.output(identity)
    if rank is not None:
        title, own = f"Rank {rank} of evaluation {identity} of {layout.name!r}", layout.output(identity, rank)
        file = own if rank or own.exists() else file  # the first one's is the evaluation's, but for parameter servers
    return Output(title, (file,), _asking(layout, ended))


def of_allocation(layout: Layout, number: int) -> Output:
    """What an allocation's job has printed, its driver's log among it; raises NotFoundError when there is none."""

    def ended(connection: Connection) -> bool:
        return all(row["state"] == "ENDED" for row in queries.allocation_rows(connection) if row["number"] == number)

    with reading(layout.database) as connection:
        numbers = [row["number"] for row in queries.allocation_rows(connection)]
    if number not in numbers:
        known = has_numbers((numbers[0], numbers[-1]) if numbers else None)
        raise NotFoundError(f"Workflow {layout.name!r} has no allocation {number}; {known}.")
    folder = layout.allocation(number)
    title = f"Allocation {number} of {layout.name!r}"
    return Output(title, (folder / "stdout", folder / "stderr"), _asking(layout, ended, number))


def of_drivers(layout: Layout) -> Output:
    """The log of all drivers that have worked on a workflow."""

    def ended(connection: Connection) -> bool:
        return all(row["state"] == "ENDED" for row in queries.allocation_rows(connection))

    return Output(f"The driver of {layout.name!r}", (layout.log,), _asking(layout, ended))


def _asking(layout: Layout, ended: Callable[[Connection], bool], number: int | None = None) -> Callable[[], bool]:
    def ask() -> bool:
        if not layout.database.exists():  # somebody has removed the workflow
            return True
        try:
            with reading(layout.database) as connection:
                if ended(connection):
                    return True
            return not _worked_on(layout, number)
        except DatabaseError:  # its driver writes: the next question will be answered
            return False

    return ask


def _worked_on(layout: Layout, number: int | None) -> bool:
    """Whether allocation ``number``, or where that is None any, may still work; one that has died does not."""
    heard = hear_schedulers([layout]).get(layout, {})
    with reading(layout.database) as connection:
        rows = [dict(row) for row in queries.allocation_rows(connection)]
    return any(view(row, heard.get(row["number"])).live for row in rows if number in (None, row["number"]))
