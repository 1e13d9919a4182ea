"""Stopping rules: which evaluations are to end early, by what they report.

``create`` makes one; :mod:`hpcsearch.search.stopping.base` is the contract for writing another. They decide in the
driver's own loop, so everything here uses the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from hpcsearch.search.arguments import check_arguments
from hpcsearch.search.plugins import Kind
from hpcsearch.search.stopping.base import Stopper

__all__ = ["NONE", "STOPPER", "Stopper", "check", "create"]

#: The name by which no rule is chosen.
NONE = "none"

STOPPER = Kind(
    noun="stopping rule",
    plural="stopping rules",
    article="stopping rule",
    group="hpcsearch.stopper",
    built_in={
        "asha": "hpcsearch.search.stopping.asha:AshaStopper",
        "median": "hpcsearch.search.stopping.median:MedianStopper",
    },
    methods=("tell", "ended"),
    contract="hpcsearch.search.stopping.base.Stopper",
    option="--stopper-arg",
)


def create(name: str, cwd: str | os.PathLike[str] | None = None, /, **arguments: Any) -> Stopper:
    """Makes a stopping rule.

    Args:
        name: a rule's name (``asha``, ``median``) or ``path/to/file.py:Class``.
        cwd: where a relative path begins; by default in the current folder.
        arguments: the rule's own settings; text is converted to the type that the rule states.

    Raises:
        SearchError: it is unknown or cannot be loaded, or an argument is unknown or of the wrong type.
        LoadError: its file is not there, or importing it fails.
    """
    found = STOPPER.find(name, cwd)
    return cast("Stopper", found(**check_arguments(STOPPER, name, found, arguments)))


def check(name: str, arguments: Mapping[str, Any], cwd: str | os.PathLike[str] | None = None) -> None:
    """Raises SearchError or LoadError where ``create`` would; ``none`` is a name, too, and takes no arguments."""
    from hpcsearch.errors import SearchError

    if name != NONE:
        create(name, cwd, **arguments)
    elif arguments:
        raise SearchError(
            f"There is no stopping rule that could take {', '.join(arguments)}.",
            f"Choose one with --stopper: {', '.join(sorted(STOPPER.known()))}.",
        )
