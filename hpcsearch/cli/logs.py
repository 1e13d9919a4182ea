"""``hpcsearch logs``: what has been printed."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from hpcsearch.cli import options

if TYPE_CHECKING:
    from hpcsearch.monitor.output import Output
    from hpcsearch.workflow.layout import Layout


@click.command("logs")
@options.workflow
@click.argument("evaluation", metavar="[EVAL]", type=options.Count(), required=False)
@click.option("--allocation", "-a", type=options.Count(), metavar="N", help="What the job of allocation N has printed.")
@click.option("--rank", "-r", type=click.IntRange(min=0), metavar="R", help="What another rank of EVAL has printed.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed from now on, until it ends or Ctrl-C.")
@click.option("--lines", "-n", type=options.Count(), metavar="K", help="Begin with the last K lines.")
@options.root
def command(
    workflow: str,
    evaluation: int | None,
    allocation: int | None,
    rank: int | None,
    follow: bool,
    lines: int | None,
    root: str | None,
) -> int:
    """Show what evaluation EVAL of the workflow WF has printed; without EVAL, the log of WF's drivers."""
    from hpcsearch.cli.main import INTERRUPTED
    from hpcsearch.monitor.follow import read_files
    from hpcsearch.workflow.layout import find_layout

    output = _output(find_layout(workflow, root), evaluation, allocation, rank)
    out = sys.stdout.buffer
    shown = False
    try:
        with contextlib.closing(read_files(output.files, lines, output.ended if follow else None)) as pieces:
            for piece in pieces:
                out.write(piece)
                out.flush()
                shown = True
    except KeyboardInterrupt:
        if not follow:
            raise
        return INTERRUPTED  # the way to stop following: nothing to be told of
    if not shown:
        click.echo(f"{output.title} has printed nothing{'' if output.ended() else ' yet'}.", err=True)
    return 0


def _output(layout: Layout, evaluation: int | None, allocation: int | None, rank: int | None) -> Output:
    from hpcsearch.errors import UsageError
    from hpcsearch.monitor import output

    if evaluation is not None and allocation is not None:
        raise UsageError("An evaluation and an allocation each have their own output.", "Give EVAL or --allocation.")
    if rank is not None and evaluation is None:
        raise UsageError("A rank is one of an evaluation's.", "Give EVAL, too.")
    if evaluation is not None:
        return output.of_evaluation(layout, evaluation, rank)
    return output.of_drivers(layout) if allocation is None else output.of_allocation(layout, allocation)
