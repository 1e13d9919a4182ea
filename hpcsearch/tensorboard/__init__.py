"""TensorBoard: where an evaluation writes its event files, what is read from them, and a view of a whole workflow.

The package ``tensorboard`` itself is imported only by what reads event files or shows them.
"""

from __future__ import annotations

from pathlib import Path

from hpcsearch.tensorboard.naming import run_name
from hpcsearch.worker.context import evaluation

__all__ = ["logdir"]

#: The folder in an evaluation's directory that holds its event files.
FOLDER = "tensorboard"


def logdir() -> str:
    """The folder for this evaluation's event files: its own, named by its hyperparameters, the same in every attempt.

    It is there when this returns. Where a run function is called by hand it is ``./tensorboard/by_hand``.
    """
    current = evaluation()
    path: Path = current.directory / FOLDER / (run_name(current.config) or "by_hand")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(path)
