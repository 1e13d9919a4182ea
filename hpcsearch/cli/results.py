"""``hpcsearch results``: the best evaluations."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("results")
@options.workflow
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="K", help="How many.")
@options.output_format("table", "json", "csv")
@options.root
def command(workflow: str, top: int, form: str, root: str | None) -> None:
    """Show the best evaluations of the workflow WF (a name or a path), the best first.

    All evaluations, failed ones too, are in results.csv in the workflow's directory.
    """
    from hpcsearch.monitor.results import show_results
    from hpcsearch.workflow.workflow import open_workflow

    opened = open_workflow(workflow, root)
    show_results(opened.name, opened.best(top), opened.counts(), form)
