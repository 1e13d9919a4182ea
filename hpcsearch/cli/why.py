"""``hpcsearch why``: the cause of what went wrong."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("why")
@options.workflow
@click.argument("evaluation", metavar="[EVAL]", type=options.Count(), required=False)
@options.output_format("table", "json")
@options.root
def command(workflow: str, evaluation: int | None, form: str, root: str | None) -> None:
    """Say why evaluation EVAL of the workflow WF failed; without EVAL, why nothing runs on WF.

    The cause in one sentence, what happened then (whether it was tried again, and where), and what to do.
    """
    from hpcsearch.monitor import text
    from hpcsearch.monitor.why import explain
    from hpcsearch.workflow.layout import find_layout

    why = explain(find_layout(workflow, root), evaluation)
    if form == "json":
        text.print_json(vars(why))
        return
    style = text.style_of_output()
    for line in why.lines(style.width):
        click.echo(line)
