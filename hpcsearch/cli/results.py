"""``hpcsearch results``: the best evaluations, and all of them as a file."""

from __future__ import annotations

from pathlib import Path

import click

from hpcsearch.cli import options

_SHOWN = 10


@click.command("results")
@options.workflow
@click.option(
    "--top",
    type=options.Count(),
    metavar="K",
    help=f"The K best alone. Without it {_SHOWN} are shown, and a file gets all evaluations.",
)
@click.option(
    "--pareto",
    "goals",
    metavar="NAME[:min|:max],...",
    help="Those that no other one beats in several objectives, which the run function returned by name.",
)
@options.output_file("Write a file, too: .csv, .json, .yaml, .h5 or .parquet.")
@options.output_format("table", "json", "csv")
@options.root
def command(
    workflow: str, top: int | None, goals: str | None, output: Path | None, force: bool, form: str, root: str | None
) -> None:
    """Show the best evaluations of the workflow WF (a name or a path), the best first.

    FILE gets the columns of results.csv in the workflow's directory. It has the K best, the best first, or without
    --top all evaluations, failed and unfinished ones too.
    """
    from hpcsearch.errors import UsageError
    from hpcsearch.monitor.results import show_pareto, show_results
    from hpcsearch.workflow.results.export import check_export, export
    from hpcsearch.workflow.workflow import open_workflow

    opened = open_workflow(workflow, root)
    if goals is not None:
        if top is not None or output is not None:
            raise UsageError("--pareto goes with neither --top nor --output.", "Leave one out; --format json has all.")
        show_pareto(opened.name, opened.pareto(goals), [goal.partition(":")[0] for goal in goals.split(",")], form)
        return
    if output is not None:
        check_export(opened.layout, output, force)
    show_results(opened.name, opened.best(top or _SHOWN), opened.counts(), form)
    if output is not None:
        count = export(opened.layout, output, top=top, force=force)
        # What programs read on standard output stays alone there.
        click.echo(f"{count} evaluation{'' if count == 1 else 's'} written to {output}.", err=form != "table")
