"""The rest of a chain: allocations that were submitted to continue a search, and are not needed any more."""

from __future__ import annotations

import logging

from hpcsearch import schedulers
from hpcsearch.errors import HpcsearchError
from hpcsearch.sites.load import read_site
from hpcsearch.workflow import database, queries, store
from hpcsearch.workflow.layout import Layout

log = logging.getLogger(__name__)


def cancel_followers(layout: Layout, number: int, why: str) -> None:
    """Cancels the allocations behind ``number`` that have not begun, because of ``why``.

    One that cannot be cancelled ends by itself as soon as it begins.
    """
    with database.reading(layout.database) as connection:
        rows = queries.allocation_rows(connection)
    waiting = [row for row in rows if row["number"] > number and row["state"] == "SUBMITTED" and row["scheduler_id"]]
    if not waiting:
        return
    engine = database.writer(layout.database)
    for row in waiting:
        try:
            schedulers.cancel(read_site(layout.allocation(row["number"]) / "site.json"), row["scheduler_id"])
        except HpcsearchError as error:
            log.warning("allocation %d could not be cancelled: %s", row["number"], error)
            continue
        store.update_allocation(engine, row["number"], state="ENDED", outcome=f"cancelled: {why} before it began")
        log.info("allocation %d is cancelled: %s", row["number"], why)
    engine.dispose()
