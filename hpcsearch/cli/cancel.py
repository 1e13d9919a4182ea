"""``hpcsearch cancel``: ends what works on a workflow."""

from __future__ import annotations

import contextlib

import click

from hpcsearch.cli import options


@click.command("cancel")
@options.workflow
@options.root
def command(workflow: str, root: str | None) -> None:
    """End the allocations of the workflow WF (a name or a path), queued ones too.

    What they have recorded stays; 'hpcsearch resume' goes on from there.
    """
    from hpcsearch import schedulers
    from hpcsearch.errors import SchedulerError
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.sites.load import read_site
    from hpcsearch.workflow.layout import find_layout

    layout = find_layout(workflow, root)
    live = [allocation for allocation in take_snapshot(layout).live if allocation.scheduler_id is not None]
    refused: SchedulerError | None = None
    for allocation in reversed(live):  # those of a chain that wait go first, so that none takes the turn of another
        assert allocation.scheduler_id is not None
        site = read_site(layout.allocation(allocation.number) / "site.json")
        try:
            schedulers.cancel(site, allocation.scheduler_id)
        except SchedulerError as error:
            refused = error
            continue
        with contextlib.suppress(OSError):  # no space for it: then status says so when the scheduler does
            layout.cancelled(allocation.number).touch()
        click.echo(f"Allocation {allocation.number} ({allocation.scheduler_id}) is told to end.")
    if refused is not None:
        raise refused
    if not live:
        click.echo(f"Nothing works on {layout.name!r}, and nothing is queued for it.")
