"""``hpcsearch status``: how a workflow stands."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("status")
@click.argument("workflow", metavar="[WF]", required=False)
@click.option("--nodes", "each_node", is_flag=True, help="A line for each node: how long it was held, and how busy.")
@options.output_format("table", "json")
@options.root
def command(workflow: str | None, each_node: bool, form: str, root: str | None) -> None:
    """Show how the workflow WF stands (a name or a path); without WF, all of them.

    Node-hours are held from an allocation's begin until a node was given back or lost, or the allocation ended.
    """
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.monitor.view import show_list, show_status
    from hpcsearch.workflow.layout import find_layout

    if workflow is None:
        show_list(root, form)
    else:
        show_status(take_snapshot(find_layout(workflow, root), with_nodes=True), form, each_node)
