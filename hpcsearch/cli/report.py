"""``hpcsearch report``: a page with figures on a workflow."""

from __future__ import annotations

from pathlib import Path

import click

from hpcsearch.cli import options


@click.command("report")
@options.workflow
@options.output_file("Where to write it; the name ends in .html.", default=Path("report.html"), show_default=True)
@options.root
def command(workflow: str, output: Path, force: bool, root: str | None) -> None:
    """Write a page on the workflow WF (a name or a path), running or ended, as one HTML file.

    It shows the objective over time, every hyperparameter and how important it is, learning curves, how the nodes were
    used, failures and the best configurations. It needs no network: copy it to your own machine, and open it there.
    """
    from hpcsearch.workflow.layout import find_layout
    from hpcsearch.workflow.results.outputs import checked_ending, written

    checked_ending(output, (".html", ".htm"), force)
    layout = find_layout(workflow, root)
    from hpcsearch.figures.page import page
    from hpcsearch.figures.study import read_study

    html = page(read_study(layout))
    with written(output) as draft:
        draft.write_text(html, encoding="utf-8")
    click.echo(f"Written to {output} ({len(html.encode()) / 1e6:.1f} MB).")
