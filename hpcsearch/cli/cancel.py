"""``hpcsearch cancel``: ends what works on a workflow."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("cancel")
@options.workflow
@options.root
def command(workflow: str, root: str | None) -> None:
    """End the allocations of the workflow WF. What they have recorded stays; 'hpcsearch resume' goes on from there."""
    from hpcsearch import schedulers
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.sites.load import read_site
    from hpcsearch.workflow.layout import find_layout

    layout = find_layout(workflow, root)
    live = [allocation for allocation in take_snapshot(layout).live if allocation.scheduler_id is not None]
    for allocation in live:
        assert allocation.scheduler_id is not None
        site = read_site(layout.allocation(allocation.number) / "site.json")
        schedulers.cancel(site, allocation.scheduler_id)
        click.echo(f"Allocation {allocation.number} ({allocation.scheduler_id}) is told to end.")
    if not live:
        click.echo(f"Nothing works on {layout.name!r}, and nothing is queued for it.")
