"""``hpcsearch monitor``: watching a workflow on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from hpcsearch.cli import completion, options

if TYPE_CHECKING:
    from hpcsearch.workflow.layout import Layout


@click.command("monitor")
@click.argument("workflow", metavar="[WF]", required=False, shell_complete=completion.workflows)
@click.option("--once", is_flag=True, help="Print it once, as plain text; what is no terminal gets no more anyway.")
@options.interval(2.0)
@options.root
def command(workflow: str | None, once: bool, interval_s: float, root: str | None) -> None:
    """Watch the workflow WF (a name or a path); without WF, the one in which something was written last.

    Allocations and what they wait for, progress and when it may end, the best configuration, the objective over time,
    nodes and their slots, failures, and the evaluations, sorted by whatever you like. '?' shows the keys. It reads the
    database alone, and asks the scheduler as seldom as the site wants.
    """
    from hpcsearch.workflow.layout import find_layout

    layout = find_layout(workflow, root) if workflow is not None else _latest(root)
    if once or not _is_terminal():
        from hpcsearch.monitor.page import print_page
        from hpcsearch.monitor.watch import Watch

        print_page(Watch(layout).look())
        return
    from hpcsearch.monitor.terminal import run

    run(layout, interval_s)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _latest(root: str | None) -> Layout:
    from hpcsearch.errors import NotFoundError
    from hpcsearch.workflow.layout import list_layouts, workflows_root

    layouts = list_layouts(root)
    if not layouts:
        raise NotFoundError(
            f"There is no workflow in {workflows_root(root)} to watch.",
            "Give a workflow's path, or another folder with --root.",
        )
    return max(layouts, key=lambda layout: layout.database.stat().st_mtime)
