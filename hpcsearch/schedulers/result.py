"""The result of an allocation, where submitit's ``Job.result()`` looks for it, and the status its script left."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any


def result_file(folder: Path, job_id: str) -> Path:
    """The file that submitit's JobPaths names for the first task of a job."""
    return folder / f"{job_id}_0_result.pkl"


def write_result(folder: Path, job_id: str, value: Any) -> None:
    """Writes ``value`` (plain Python values) as the job's result, whole or not at all."""
    file = result_file(folder, job_id)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_bytes(pickle.dumps(("success", value)))
    part.replace(file)


def read_exit_status(folder: Path) -> int | None:
    """The exit status that the job script wrote down; None when it was ended before that."""
    try:
        return int((folder / "exit_status").read_text())
    except (FileNotFoundError, ValueError):
        return None
