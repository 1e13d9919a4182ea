"""``hpcsearch stop``: lets what runs on a workflow end, and nothing else begin."""

from __future__ import annotations

import click

from hpcsearch.cli import options
from hpcsearch.cli.cancel import tell


@click.command("stop")
@options.workflow
@options.root
def command(workflow: str, root: str | None) -> None:
    """Start nothing more on the workflow WF (a name or a path): what runs goes on to its end.

    Then its allocation ends; those that wait are taken back. 'hpcsearch resume' goes on from there, and
    'hpcsearch cancel' ends what runs, too.
    """
    from hpcsearch.monitor.cancelling import stop

    tell(stop, workflow, root)
