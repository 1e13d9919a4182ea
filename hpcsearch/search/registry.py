"""Finding strategies by name, entry point or file, and making a search of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from hpcsearch.errors import SearchError
from hpcsearch.search.arguments import check_arguments
from hpcsearch.search.plugins import Kind

if TYPE_CHECKING:
    from hpcsearch.search.asktell import Search
    from hpcsearch.search.base import Objectives, SearchProblem, Strategy

#: What is here.
BUILT_IN: Mapping[str, str] = {
    "ambs": "hpcsearch.search.ambs:AmbsSearch",
    "cmaes": "hpcsearch.search.cmaes:CmaesSearch",
    "de": "hpcsearch.search.de:DeSearch",
    "grid": "hpcsearch.search.grid:GridSearch",
    "list": "hpcsearch.search.listed:ListSearch",
    "optuna": "hpcsearch.search.optuna:OptunaSearch",
    "plugin": "hpcsearch.script.plugin:PluginSearch",
    "random": "hpcsearch.search.random:RandomSearch",
    "regevo": "hpcsearch.search.regevo:RegevoSearch",
    "sobol": "hpcsearch.search.sobol:SobolSearch",
}

STRATEGY = Kind(
    noun="strategy",
    plural="strategies",
    article="search strategy",
    group="hpcsearch.search",
    built_in=BUILT_IN,
    methods=("ask", "pending", "tell"),
    contract="hpcsearch.search.base.Strategy",
    option="--search-arg",
    given=1,
    extras=("optuna",),
)


def create(
    name: str, problem: SearchProblem, /, seed: int | None = None, background: bool = False, **arguments: Any
) -> Search:
    """Makes a search.

    Args:
        name: a strategy's name (``random``, ``ambs``, ...) or ``path/to/file.py:Class``.
        problem: what to search.
        seed: with the same seed, the same calls give the same configurations (unless ``background``).
        background: let models be fitted in a thread, and ``ask`` answer at once from what is ready.
        arguments: the strategy's own settings; text is converted to the type that the strategy states.

    Raises:
        SearchError: the strategy is unknown or cannot be loaded, an argument is unknown or of the wrong type, or the
            seed is negative.
        LoadError: the file of a strategy is not there, or importing it fails.
    """
    if seed is not None and seed < 0:
        raise SearchError(f"seed={seed} is negative.", "Give 0 or more, or none.")
    strategy = find(name)
    settings = check_arguments(STRATEGY, name, strategy, arguments)

    import numpy as np

    from hpcsearch.search.asktell import Search
    from hpcsearch.search.base import Setting
    from hpcsearch.search.encoding import Encoding

    setting = Setting(problem, Encoding(problem.space), np.random.Generator(np.random.PCG64(seed)), background, seed)
    return Search(strategy(setting, **settings), setting, seed)


def known_strategies() -> dict[str, str]:
    """Strategies by name, each with where its class is (``module:Class``)."""
    return STRATEGY.known()


def check_name(name: str) -> None:
    """Raises SearchError when no strategy is called so; files, which may hold one, are not looked at."""
    STRATEGY.check_name(name)


def objectives_of(name: str, cwd: str) -> Objectives:
    """Which of several objectives a strategy goes by; a relative path begins in ``cwd``.

    Raises:
        SearchError: there is no such strategy, or it cannot be imported.
        LoadError: there is no such file or class, or importing the file fails.
    """
    from hpcsearch.search import base

    return base.objectives_of(STRATEGY.find(name, cwd))


def find(name: str) -> Callable[..., Strategy]:
    """The class of a strategy, by name or as ``path/to/file.py:Class``.

    Raises:
        SearchError: there is no such strategy, or it cannot be imported.
        LoadError: there is no such file or class, or importing the file fails.
    """
    return cast("Callable[..., Strategy]", STRATEGY.find(name))
