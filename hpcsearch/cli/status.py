"""``hpcsearch status``: how a workflow stands."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("status")
@click.argument("workflow", metavar="[WF]", required=False)
@options.output_format("table", "json")
@options.root
def command(workflow: str | None, form: str, root: str | None) -> None:
    """Show how the workflow WF stands (a name or a path); without WF, all of them."""
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.monitor.view import show_list, show_status
    from hpcsearch.workflow.layout import find_layout

    if workflow is None:
        show_list(root, form)
    else:
        show_status(take_snapshot(find_layout(workflow, root)), form)
