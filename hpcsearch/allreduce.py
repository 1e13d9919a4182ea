"""One run of several ranks, under its old name: ``from hpcsearch import allreduce``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcsearch.experiment.result import Experiment

__all__ = ["launch"]


def launch(*arguments: Any, **options: Any) -> Experiment:
    """The same as :func:`hpcsearch.experiment.allreduce`."""
    from hpcsearch.experiment.fronts import allreduce

    return allreduce(*arguments, **options)
