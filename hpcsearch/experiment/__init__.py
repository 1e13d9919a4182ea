"""Experiments: a function and a dict, from a notebook or a script, run at once or in an allocation.

``from hpcsearch import experiment``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcsearch.experiment.elsewhere import on
    from hpcsearch.experiment.fronts import (
        allreduce,
        differential_evolution,
        evolutionary_search,
        grid_search,
        launch,
        parameter_server,
        random_search,
    )

__all__ = [
    "allreduce",
    "differential_evolution",
    "evolutionary_search",
    "grid_search",
    "launch",
    "on",
    "parameter_server",
    "random_search",
]


def __getattr__(name: str) -> Any:
    # A node that unpickles a function imports this package: it must cost nothing there.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"hpcsearch.experiment.{'elsewhere' if name == 'on' else 'fronts'}"), name)


def __dir__() -> list[str]:
    return __all__
