"""``hpcsearch show``: one evaluation."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("show")
@options.workflow
@click.argument("evaluation", metavar="EVAL", type=options.Count())
@options.output_format("table", "json")
@options.root
def command(workflow: str, evaluation: int, form: str, root: str | None) -> None:
    """Show all that is known of evaluation EVAL (its id) of the workflow WF (a name or a path).

    Its configuration, objective and metadata, its attempts with their nodes and times, what it reported, why it failed,
    its files, and the end of what it printed; 'hpcsearch logs' has the whole of that.
    """
    from hpcsearch.monitor.detail import read_detail
    from hpcsearch.monitor.detail_view import show_detail
    from hpcsearch.workflow.layout import find_layout

    show_detail(read_detail(find_layout(workflow, root), evaluation), form)
