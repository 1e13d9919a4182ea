"""Ending the allocations of a workflow: what the commands ``cancel`` and ``stop`` and the terminal view do alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hpcsearch import schedulers
from hpcsearch.errors import DatabaseError, SchedulerError
from hpcsearch.monitor.allocations import AllocationView
from hpcsearch.sites.load import read_site
from hpcsearch.workflow.layout import Layout


def known(live: Sequence[AllocationView]) -> list[AllocationView]:
    """Those that the scheduler knows, in the order in which they are to be told.

    Those of a chain that wait go first, so that none takes the turn of another.
    """
    return [one for one in reversed(live) if one.scheduler_id is not None]


def cancel(layout: Layout, allocations: Sequence[AllocationView]) -> Iterator[str]:
    """Tells each allocation to end, and says so.

    Raises:
        SchedulerError: one could not be told, after all the others were.
    """
    refused: SchedulerError | None = None
    for one in allocations:
        assert one.scheduler_id is not None
        site = read_site(layout.allocation(one.number) / "site.json")
        try:
            schedulers.cancel(site, one.scheduler_id)
        except SchedulerError as error:
            refused = error
            continue
        with contextlib.suppress(OSError):  # no space for it: then status says so when the scheduler does
            layout.cancelled(one.number).touch()
        yield f"Allocation {one.number} ({one.scheduler_id}) is told to end."
    if refused is not None:
        raise refused


def stop(layout: Layout, allocations: Sequence[AllocationView]) -> Iterator[str]:
    """Lets what runs end and nothing else begin: takes back the allocations that wait, and says so.

    Raises:
        SchedulerError: one that waits could not be taken back.
        DatabaseError: one that runs could not be told.
    """
    # By what its driver recorded: what the scheduler said may be from before that
    runs = [one for one in allocations if one.started_at is not None]
    for one in runs:
        try:
            layout.stopped(one.number).touch()
        except OSError as error:
            raise DatabaseError(
                f"{layout.stopped(one.number)} cannot be written: {error.strerror}.",
                "Make room there; 'hpcsearch cancel' needs none, and ends what runs.",
            ) from None
        yield f"Allocation {one.number} ({one.scheduler_id}) starts nothing more, and ends when what runs has ended."
    yield from cancel(layout, [one for one in allocations if one not in runs])
