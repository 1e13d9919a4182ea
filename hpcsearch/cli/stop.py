"""``hpcsearch stop``: lets what runs on a workflow end, and nothing else begin."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("stop")
@options.workflow
@options.root
def command(workflow: str, root: str | None) -> None:
    """Start nothing more on the workflow WF (a name or a path): what runs goes on to its end.

    Then its allocation ends; those that wait are taken back. 'hpcsearch resume' goes on from there, and
    'hpcsearch cancel' ends what runs, too.
    """
    from hpcsearch.monitor.cancelling import known, stop
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.workflow.layout import find_layout

    layout = find_layout(workflow, root)
    told = known(take_snapshot(layout).live)
    for sentence in stop(layout, told):
        click.echo(sentence)
    if not told:
        click.echo(f"Nothing works on {layout.name!r}, and nothing is queued for it.")
