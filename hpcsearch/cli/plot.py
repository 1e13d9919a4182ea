"""``hpcsearch plot``: one figure of a workflow, for a paper."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from hpcsearch.cli import options

#: What can be drawn: as ``hpcsearch.figures.paper`` has it, which imports matplotlib.
KINDS = ("objective", "parallel", "hyperparameters", "importance", "curves", "utilisation")
_ENDINGS = (".png", ".pdf", ".svg")


@click.command("plot")
@options.workflow
@click.option("--kind", type=click.Choice(KINDS), default="objective", show_default=True, help="Which figure.")
@options.output_file("Where to write it: .png, .pdf or .svg.", required=True)
@options.root
def command(workflow: str, kind: str, output: Path, force: bool, root: str | None) -> None:
    """Draw one figure of the workflow WF (a name or a path) to a file, for a paper.

    The figures are those of 'hpcsearch report'.
    """
    from hpcsearch.errors import UsageError
    from hpcsearch.workflow.layout import find_layout
    from hpcsearch.workflow.results.outputs import checked_ending, written

    form = checked_ending(output, _ENDINGS, force).removeprefix(".")
    layout = find_layout(workflow, root)
    if find_spec("matplotlib") is None:
        raise UsageError(
            "Nothing can be drawn, because matplotlib is not installed in this environment.",
            "Type \"pip install 'hpcsearch[plot]'\"; 'hpcsearch report' needs no more than is there.",
        )
    from hpcsearch.figures.paper import draw
    from hpcsearch.figures.study import read_study

    study = read_study(layout)
    with written(output) as draft:
        draw(study, kind, draft, form)
    click.echo(f"Written to {output}.")
