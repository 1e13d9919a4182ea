"""``hpcsearch status``: how a workflow stands."""

from __future__ import annotations

import click

from hpcsearch.cli import completion, options


@click.command("status")
@click.argument("workflow", metavar="[WF]", required=False, shell_complete=completion.workflows)
@click.option("--nodes", "each_node", is_flag=True, help="A line for each node: how long it was held, and how busy.")
@options.output_format("table", "json", "csv")
@options.root
def command(workflow: str | None, each_node: bool, form: str, root: str | None) -> None:
    """Show how the workflow WF stands (a name or a path); without WF, all of them.

    CSV has one line for a workflow, and the same columns for one as for all; JSON has the allocations and nodes too.
    Node-hours are held from an allocation's begin until a node was given back or lost, or the allocation ended.
    """
    from hpcsearch.monitor.listing import show_list
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.monitor.view import show_status
    from hpcsearch.workflow.layout import find_layout

    if workflow is None:
        show_list(root, form)
    else:
        show_status(take_snapshot(find_layout(workflow, root), with_nodes=True), form, each_node)
