"""``hpcsearch tensorboard``: TensorBoard over a whole workflow."""

from __future__ import annotations

import click

from hpcsearch.cli import options, pages


@click.command("tensorboard")
@options.workflow
@pages.shown_evaluations(500, "the best ones")
@pages.local_port(6006)
@options.root
def command(workflow: str, most: int, port: int, root: str | None) -> None:
    """Show the workflow WF (a name or a path), running or ended, in TensorBoard, until Ctrl-C.

    Every evaluation is a run with its hyperparameters and its objective (HParams), and with the event files that it
    wrote to hpcsearch.tensorboard.logdir(). It is served on a Unix socket that you alone can connect to. The line to
    type on your own machine is printed.
    """
    from hpcsearch.dashboards.serving import private_folder, require
    from hpcsearch.workflow.layout import find_layout

    require("tensorboard", "tensorboard", "waitress")
    layout = find_layout(workflow, root)
    from hpcsearch.dashboards.tensorboard_app import application_over
    from hpcsearch.dashboards.tensorboard_mirror import TensorBoardMirror

    with private_folder() as folder:
        logdir = folder / "runs"
        logdir.mkdir()
        mirror = TensorBoardMirror(layout, logdir, most)
        pages.show(mirror, application_over(logdir, pages.REFRESH_S), folder, port)
