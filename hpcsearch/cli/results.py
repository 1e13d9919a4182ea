"""``hpcsearch results``: the best evaluations, and all of them as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcsearch.cli import completion, options

if TYPE_CHECKING:
    from hpcsearch.workflow.workflow import Workflow

_SHOWN = 10


@click.command("results")
@click.argument("workflow", metavar="WF", required=False, shell_complete=completion.workflows)
@click.option(
    "--top",
    type=options.Count(),
    metavar="K",
    help=f"The K best alone. Without it {_SHOWN} are shown, and a file gets all evaluations.",
)
@click.option(
    "--pareto",
    "goals",
    is_flag=False,
    flag_value="",
    metavar="[NAME[:min|:max],...]",
    help="Those that no other one beats in several objectives, which the run function returned by name: in all, or in "
    "those named here.",
)
@options.output_file("Write a file, too: .csv, .json, .yaml, .h5 or .parquet.")
@options.output_format("table", "json", "csv")
@options.root
def command(
    workflow: str | None,
    top: int | None,
    goals: str | None,
    output: Path | None,
    force: bool,
    form: str,
    root: str | None,
) -> None:
    """Show the best evaluations of the workflow WF (a name or a path), the best first.

    FILE gets the columns of results.csv in the workflow's directory. It has the K best, the best first, or without
    --top all evaluations, failed and unfinished ones too.
    """
    from hpcsearch.errors import UsageError
    from hpcsearch.monitor.results import show_pareto, show_results
    from hpcsearch.workflow.results.export import check_export, export
    from hpcsearch.workflow.workflow import open_workflow

    if workflow is None and goals:  # the one word there is stood behind --pareto
        workflow, goals = goals, ""
    if workflow is None:
        raise click.UsageError("Missing argument 'WF'.", click.get_current_context())
    opened = open_workflow(workflow, root)
    if goals is not None:
        if top is not None or output is not None:
            raise UsageError("--pareto goes with neither --top nor --output.", "Leave one out; --format json has all.")
        shown = [goal.name for goal in opened.goals(goals or None)]
        show_pareto(opened.name, opened.pareto(goals or None), shown, form)
        return
    if output is not None:
        check_export(opened.layout, output, force)
    show_results(opened.name, opened.best(top or _SHOWN), opened.counts(), form)
    if form == "table" and (names := opened.objectives()):
        click.echo(_said_of(opened, names))
    if output is not None:
        count = export(opened.layout, output, top=top, force=force)
        # What programs read on standard output stays alone there.
        click.echo(f"{count} evaluation{'' if count == 1 else 's'} written to {output}.", err=form != "table")


#: Which of several objectives a search goes by, in words.
_GOES_BY = {
    "first": "{search} searches by the first of the objectives {names} alone; ambs goes by all of them.",
    "several": "{search} goes by all the objectives {names}.",
    "any": "The objectives are {names}; {search} goes by none.",
}


def _said_of(opened: Workflow, names: list[str]) -> str:
    """What the search makes of several objectives."""
    from hpcsearch.errors import HpcsearchError
    from hpcsearch.objectives import split
    from hpcsearch.search.registry import objectives_of
    from hpcsearch.workflow import queries
    from hpcsearch.workflow.database import reading

    plain = ", ".join(split(name)[0] for name in names)
    try:
        with reading(opened.layout.database) as connection:
            row = queries.workflow_row(connection)
        said = _GOES_BY[objectives_of(row["search"], row["cwd"])].format(search=row["search"], names=plain)
    except HpcsearchError:  # a file of results alone does not tell, nor does a strategy that is not here any more
        said = f"The objectives are {plain}."
    return f"{said} With --pareto those are shown that no other one beats."
