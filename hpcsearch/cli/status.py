"""``hpcsearch status``: how a workflow stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpcsearch.cli import completion, options

if TYPE_CHECKING:
    from hpcsearch.workflow.layout import Layout


@click.command("status")
@click.argument("workflow", metavar="[WF]", required=False, shell_complete=completion.workflows)
@click.option("--nodes", "each_node", is_flag=True, help="A line for each node: how long it was held, and how busy.")
@options.output_format("table", "json", "csv")
@click.option("--watch", is_flag=True, help="Again and again, until nothing works on it any more, or Ctrl-C.")
@options.interval(5.0)
@options.root
@click.pass_context
def command(
    context: click.Context,
    workflow: str | None,
    each_node: bool,
    form: str,
    watch: bool,
    interval_s: float,
    root: str | None,
) -> int:
    """Show how the workflow WF stands (a name or a path); without WF, all of them.

    CSV has one line for a workflow, and the same columns for one as for all; JSON has the allocations and nodes too.
    Node-hours are held from an allocation's begin until a node was given back or lost, or the allocation ended.
    With --watch, JSON is one object a line. The scheduler is asked once per interval of its site, however often it is
    looked.
    """
    from hpcsearch.workflow.layout import find_layout

    if context.get_parameter_source("interval_s") is not click.core.ParameterSource.DEFAULT and not watch:
        raise click.UsageError("--interval says how often to look again: give --watch, too.", context)
    layout = None if workflow is None else find_layout(workflow, root)
    if watch:
        return _watch(layout, root, form, each_node, interval_s)
    from hpcsearch.monitor.listing import show_list
    from hpcsearch.monitor.snapshot import take_snapshot
    from hpcsearch.monitor.view import show_status

    if layout is None:
        show_list(root, form)
    else:
        show_status(take_snapshot(layout, with_nodes=True), form, each_node)
    return 0


def _watch(layout: Layout | None, root: str | None, form: str, each_node: bool, interval_s: float) -> int:
    from hpcsearch.cli.main import INTERRUPTED
    from hpcsearch.monitor import repeat

    try:
        look = repeat.all_workflows(root) if layout is None else repeat.one_workflow(layout, each_node)
        repeat.watch(look, form, interval_s)
    except KeyboardInterrupt:  # the way to stop watching: nothing to be told of
        return INTERRUPTED
    return 0
