"""What the commands share that show a workflow on pages of other projects, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from hpcsearch.cli.options import Command, Count

if TYPE_CHECKING:
    from hpcsearch.dashboards.serving import Application

#: Seconds between two looks at the workflow.
REFRESH_S = 5.0


class Mirror(Protocol):
    """A workflow as the other project has it."""

    left_out: int  # evaluations that are not shown

    def refresh(self) -> None:
        """Brings it up to date."""


def local_port(default: int) -> Callable[[Command], Command]:
    """``--port``: where the page is on the reader's own machine."""
    return click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=default,
        show_default=True,
        metavar="PORT",
        help="Of your own machine, for the line that is printed; nothing listens on a port here.",
    )


def shown_evaluations(default: int, which: str) -> Callable[[Command], Command]:
    """``--evals``: how many evaluations a page of another project shows, which is slow with many."""
    return click.option(
        "--evals",
        "most",
        type=Count(),
        default=default,
        show_default=True,
        metavar="K",
        help=f"Of the evaluations that have ended show K: {which}. Browsers are slow with more.",
    )


def show(mirror: Mirror, application: Application, folder: Path, port: int) -> None:
    """Serves the pages on a socket in ``folder`` until Ctrl-C; says what they leave out, and how to reach them."""
    from hpcsearch.dashboards.serving import how_to_reach, serve

    if mirror.left_out:
        click.echo(f"{mirror.left_out} evaluations are left out; --evals says how many are shown.")
    announce = how_to_reach(folder, port)
    serve(application, folder, mirror.refresh, REFRESH_S, lambda: click.echo(announce))
