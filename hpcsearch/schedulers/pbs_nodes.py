"""The nodes of the PBS job that a process is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def node_file_hosts(environment: Mapping[str, str]) -> list[str]:
    """The hosts in PBS's node file, each once and the job's first one first; none outside of a job.

    Raises OSError when the file cannot be read.
    """
    file = environment.get("PBS_NODEFILE")
    if not file:
        return []
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
