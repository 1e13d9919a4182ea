"""``hpcsearch dashboard``: optuna-dashboard over a workflow."""

from __future__ import annotations

import click

from hpcsearch.cli import options, pages


@click.command("dashboard")
@options.workflow
@pages.shown_evaluations(5000, "the 500 best ones among them and the others drawn at random")
@pages.local_port(8080)
@options.root
def command(workflow: str, most: int, port: int, root: str | None) -> None:
    """Show the workflow WF (a name or a path), running or ended, in optuna-dashboard, until Ctrl-C.

    It is served on a Unix socket that you alone can connect to. The line to type on your own machine is printed.
    """
    from hpcsearch.dashboards.serving import private_folder, read_only, require
    from hpcsearch.workflow.layout import find_layout

    require("dashboard", "optuna_dashboard", "waitress")
    layout = find_layout(workflow, root)
    from hpcsearch.dashboards.optuna_mirror import OptunaMirror

    mirror = OptunaMirror(layout, most)
    with private_folder() as folder:
        pages.show(mirror, read_only(mirror.application), folder, port)
