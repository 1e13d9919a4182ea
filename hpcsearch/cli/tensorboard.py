"""``hpcsearch tensorboard``: TensorBoard over a whole workflow."""

from __future__ import annotations

import click

from hpcsearch.cli import options

_REFRESH_S = 5.0


@click.command("tensorboard")
@options.workflow
@options.shown_evaluations(500, "the best ones")
@options.local_port(6006)
@options.root
def command(workflow: str, most: int, port: int, root: str | None) -> None:
    """Show the workflow WF (a name or a path), running or ended, in TensorBoard, until Ctrl-C.

    Every evaluation is a run with its hyperparameters and its objective (HParams), and with the event files that it
    wrote to hpcsearch.tensorboard.logdir(). It is served on a Unix socket that you alone can connect to. The line to
    type on your own machine is printed.
    """
    from hpcsearch.dashboards.serving import how_to_reach, private_folder, require, serve
    from hpcsearch.workflow.layout import find_layout

    require("tensorboard", "tensorboard", "waitress")
    layout = find_layout(workflow, root)
    from hpcsearch.dashboards.tensorboard_app import application_over
    from hpcsearch.dashboards.tensorboard_mirror import TensorBoardMirror

    with private_folder() as folder:
        logdir = folder / "runs"
        logdir.mkdir()
        mirror = TensorBoardMirror(layout, logdir, most)
        options.tell_left_out(mirror.left_out)
        application = application_over(logdir, _REFRESH_S)
        announce = how_to_reach(folder, port)
        serve(application, folder, mirror.refresh, _REFRESH_S, lambda: click.echo(announce))
