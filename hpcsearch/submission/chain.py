"""Allocations of an existing workflow, one or several that follow each other: made and submitted one by one."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpcsearch import schedulers
from hpcsearch.errors import HpcsearchError, UsageError
from hpcsearch.sites import Site, limits
from hpcsearch.submission.creating import Orders, write_plan
from hpcsearch.workflow.layout import Layout

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hpcsearch.schedulers.jobs import AllocationJob

#: How long a submission waits for the database while a driver writes to it, and for a driver that was told to end.
BUSY_TIMEOUT_S = 30.0
_ENDING_S = 30.0


def check_chain(site: Site, queue: str, count: int) -> None:
    """Raises UsageError when ``count`` allocations cannot follow each other there."""
    if count > 1 and site.scheduler == "local":
        raise UsageError(
            f"On site {site.name} allocations begin at once and do not follow each other: no --chain {count} there.",
            "Leave out --chain, and give one allocation more time with -t.",
        )
    limits.check_chain(site, queue, count)


@contextmanager
def new_allocation(layout: Layout, number: int) -> Iterator[tuple[Connection, list[AllocationJob]]]:
    """A transaction in which an allocation is made and submitted; all of it is undone when the block fails.

    It holds the write lock: two who resume at once follow each other, and a driver that starts faster than its
    submission is recorded waits for that. Jobs in the list are cancelled when the block fails.
    """
    from hpcsearch.workflow import database, store

    submitted: list[AllocationJob] = []
    engine = database.writer(layout.database, busy_timeout_s=BUSY_TIMEOUT_S)
    made = False
    folder = layout.allocation(number)
    try:
        with database.writing(layout.database), engine.begin() as connection:
            if store.next_allocation(connection) != number:
                raise UsageError(f"{layout.name!r} was resumed by somebody else just now.", "See 'hpcsearch status'.")
            made = True
            # Left by a submission that was killed: no row, so no job that works on it.
            shutil.rmtree(folder, ignore_errors=True)
            yield connection, submitted
    except BaseException:
        for job in submitted:
            job.cancel(check=False)
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        engine.dispose()


def enter(
    connection: Connection, submitted: list[AllocationJob], orders: Orders, number: int, after: str = ""
) -> AllocationJob:
    """Makes and submits an allocation within the transaction of ``new_allocation``."""
    from sqlalchemy import insert

    from hpcsearch.sites.render import render_job_script
    from hpcsearch.workflow import schema

    write_plan(orders.layout, orders.plan(number))
    request = orders.request(number, after)
    job = schedulers.submit(request, render_job_script(request))
    submitted.append(job)
    values = {**orders.row(number), "scheduler_id": job.job_id, "state": "SUBMITTED", "submitted_at": time.time()}
    connection.execute(insert(schema.allocation).values(values))
    return job


def follow(orders: Orders, first: int, count: int, job: AllocationJob) -> Iterator[AllocationJob]:
    """Submits the rest of a chain of ``count`` allocations whose first one, ``job``, has the number ``first``.

    Each has a transaction of its own, for the first one may run already and must not wait for the whole chain.

    Raises:
        SchedulerError: one was refused; those before it stay.
    """
    for number in range(first + 1, first + count):
        with new_allocation(orders.layout, number) as (connection, submitted):
            job = enter(connection, submitted, orders, number, job.job_id)
        yield job


def withdraw(layout: Layout, jobs: Sequence[AllocationJob]) -> None:
    """Cancels allocations, the last first so that none takes the turn of another, and waits for their drivers."""
    for job in reversed(jobs):
        job.cancel(check=False)
    until_s = time.monotonic() + _ENDING_S
    with contextlib.suppress(HpcsearchError):
        while _driver_works(layout) and time.monotonic() < until_s:
            time.sleep(0.1)


def _driver_works(layout: Layout) -> bool:
    from hpcsearch.workflow import queries
    from hpcsearch.workflow.database import reading

    with reading(layout.database) as connection:
        return any(row["state"] == "RUNNING" for row in queries.allocation_rows(connection))
