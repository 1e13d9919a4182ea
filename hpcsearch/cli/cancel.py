"""``hpcsearch cancel``: ends what works on a workflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from hpcsearch.cli import options

if TYPE_CHECKING:
    from hpcsearch.monitor.allocations import AllocationView
    from hpcsearch.workflow.layout import Layout


@click.command("cancel")
@options.workflow
@options.root
def command(workflow: str, root: str | None) -> None:
    """End the allocations of the workflow WF (a name or a path), queued ones too.

    What they have recorded stays; 'hpcsearch resume' goes on from there.
    """
    from hpcsearch.monitor.cancelling import cancel

    tell(cancel, workflow, root)


def tell(end: Callable[[Layout, Sequence[AllocationView]], Iterator[str]], workflow: str, root: str | None) -> None:
    """Tells the allocations of a workflow to end in some way, and prints what ``end`` says of each."""
    from hpcsearch.monitor.cancelling import known
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.workflow.layout import find_layout

    layout = find_layout(workflow, root)
    told = known(take_snapshot(layout).live)
    for sentence in end(layout, told):
        click.echo(sentence)
    if not told:
        click.echo(f"Nothing works on {layout.name!r}, and nothing is queued for it.")
