"""The accelerators of an evaluation."""

from __future__ import annotations

from hpcsearch.worker.context import num_gpus

__all__ = ["get_num_gpus"]


def get_num_gpus() -> int:
    """How many GPUs are this process's own; the same as :func:`hpcsearch.num_gpus`."""
    return num_gpus()
