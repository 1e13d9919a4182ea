"""One run of several ranks, under its old name: ``from hpcsearch import allreduce``."""

from __future__ import annotations

from hpcsearch.experiment.fronts import launch

__all__ = ["launch"]
