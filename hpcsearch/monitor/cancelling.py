"""Ending the allocations of a workflow: what the command ``cancel`` and the terminal view do alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.sites.load import read_site
from hpcsearch.workflow.layout import Layout


def to_cancel(live: Sequence[AllocationView], *, waiting: bool = False) -> list[AllocationView]:
    """Those that the scheduler knows, in the order in which they are to be told; with ``waiting`` only what waits.

    Those of a chain that wait go first, so that none takes the turn of another.
    """
    chosen = [one for one in live if one.scheduler_id is not None]
    if waiting:
        chosen = [one for one in chosen if one.standing in (Standing.QUEUED, Standing.SUBMITTED)]
    return chosen[::-1]


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
