"""``experiment.on(...)``: the same experiments, in an allocation of a site."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hpcsearch.experiment import fronts
from hpcsearch.experiment.place import Place
from hpcsearch.experiment.result import Experiment


def _there(front: Callable[..., Experiment]) -> Callable[..., Experiment]:
    @functools.wraps(front)
    def method(self: Place, *arguments: Any, **options: Any) -> Experiment:
        with self:
            return front(*arguments, **options)

    return method


class Elsewhere(Place):
    """A place, with the experiments as its methods; as a context it is where those in the block run."""

    launch = _there(fronts.launch)
    grid_search = _there(fronts.grid_search)
    random_search = _there(fronts.random_search)
    differential_evolution = _there(fronts.differential_evolution)
    evolutionary_search = differential_evolution
    allreduce = _there(fronts.allreduce)
    parameter_server = _there(fronts.parameter_server)


def on(**options: Any) -> Elsewhere:
    """Where experiments run: ``experiment.on(site="slurm", queue="debug", nodes=4, walltime="0:30:00")``.

    Either ``experiment.on(...).grid_search(...)``, or ``with experiment.on(...):`` around calls that stay as they are.

    Args:
        options: ``site`` (by default the machine that this is), ``queue`` and ``account`` (by default those that are
            set for submissions), ``nodes``, ``walltime`` (``"1:30:00"`` or minutes), ``name`` of the workflow, ``wait``
            (False: a call comes back as soon as it is submitted), and all further fields of
            :class:`hpcsearch.submission.Request`, such as ``evals_per_node``, ``eval_timeout_s``, ``seed``, ``root``.

    Raises:
        UsageError: there is no such option.
    """
    return Elsewhere().but(**options)
