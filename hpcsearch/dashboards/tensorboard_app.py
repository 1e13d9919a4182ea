"""TensorBoard as a web application that somebody else serves.

TensorBoard's own server listens on TCP alone, and so does the faster process that it would read event files with; both
are open to everybody on the machine. So neither is started: event files are read in this process.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tensorboard import default, program

from hpcsearch.dashboards.serving import Application


class _Kept:
    """Stands where TensorBoard wants a server, and keeps the application that this would serve."""

    application: Application

    def __init__(self, application: Application, flags: Any) -> None:
        type(self).application = application

    def serve_forever(self) -> None:
        """Returns at once."""

    def get_url(self) -> str:
        """There is none."""
        return ""


def application_over(logdir: Path, reload_s: float) -> Application:
    """TensorBoard over the event files in a folder, which it looks at again every ``reload_s`` seconds."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    board = program.TensorBoard(plugins=default.get_plugins(), server_class=_Kept)
    board.configure(
        argv=("tensorboard",),
        logdir=str(logdir),
        load_fast="false",
        reload_interval=reload_s,
        reload_multifile=True,  # an evaluation's files lie beside those that tell its hyperparameters
    )
    board.launch()
    return _Kept.application
