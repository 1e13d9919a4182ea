"""Small helpers of experiments: a grid as lists, and how many processes there are."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hpcsearch.worker.context import evaluation, world

__all__ = ["grid_params", "num_executors", "num_param_servers"]


def grid_params(args_dict: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """All combinations of some lists as lists of equal length, for :func:`hpcsearch.experiment.launch`.

    The last key's values change fastest.

    Raises:
        UsageError: something is no list.
    """
    from hpcsearch.experiment.space import lists_of

    rows = list(itertools.product(*lists_of(args_dict).values()))
    return {name: [row[place] for row in rows] for place, name in enumerate(args_dict)}


def num_executors(session: object = None) -> int:
    """How many processes work at once: the ranks of this evaluation, else the evaluations of an experiment begun here.

    Args:
        session: a Spark session, as old calls have it; it is not looked at.
    """
    if evaluation().id:
        return world().size
    from hpcsearch.experiment.place import current

    return current().at_once


def num_param_servers(session: object = None) -> int:
    """How many ranks of this evaluation are parameter servers, or are going to be in an experiment begun here.

    Args:
        session: a Spark session, as old calls have it; it is not looked at.
    """
    if evaluation().id:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return len(cluster.get("ps", ()))
    from hpcsearch.experiment.place import current

    return int(current().options.get("num_ps", 0))
