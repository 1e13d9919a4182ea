"""Whether the allocation that holds a workflow's lease has ended, as its scheduler tells."""

from __future__ import annotations

from sqlalchemy import Engine, select

from hpcsearch.errors import HpcsearchError
from hpcsearch.schedulers import AllocationState, status
from hpcsearch.sites.load import read_site
from hpcsearch.workflow import schema
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.lease import Holder


def has_ended(layout: Layout, engine: Engine, holder: Holder) -> bool:
    """True when the scheduler says so; False when it says otherwise, or nothing."""
    table = schema.allocation.c
    with engine.connect() as connection:
        query = select(table.scheduler_id).where(table.number == holder.allocation)
        identifier = connection.execute(query).scalar()
    if holder.allocation is None or identifier is None:
        return False
    try:
        answers = status(read_site(layout.allocation(holder.allocation) / "site.json"), [identifier])
    except HpcsearchError:
        return False  # the holder's own counter will tell
    return answers[identifier].state is AllocationState.ENDED
