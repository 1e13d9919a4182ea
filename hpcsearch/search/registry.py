"""Finding strategies by name, entry point or file, and making a search of one."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpcsearch.errors import SearchError
from hpcsearch.runfunction import Reference, load
from hpcsearch.search.arguments import check_arguments

if TYPE_CHECKING:
    from hpcsearch.search.asktell import Search
    from hpcsearch.search.base import SearchProblem, Strategy

#: The entry point group in which a package declares its strategies.
GROUP = "hpcsearch.search"

#: What is here, also where the package is used from a checkout that is not installed.
BUILT_IN: Mapping[str, str] = {
    "ambs": "hpcsearch.search.ambs:AmbsSearch",
    "cmaes": "hpcsearch.search.cmaes:CmaesSearch",
    "de": "hpcsearch.search.de:DeSearch",
    "grid": "hpcsearch.search.grid:GridSearch",
    "list": "hpcsearch.search.listed:ListSearch",
    "optuna": "hpcsearch.search.optuna:OptunaSearch",
    "random": "hpcsearch.search.random:RandomSearch",
    "regevo": "hpcsearch.search.regevo:RegevoSearch",
    "sobol": "hpcsearch.search.sobol:SobolSearch",
}

#: Those that need a package which is not installed by itself, but with the extra of the same name.
_EXTRAS = ("optuna",)


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
    settings = check_arguments(name, strategy, arguments)

    import numpy as np

    from hpcsearch.search.asktell import Search
    from hpcsearch.search.base import Setting
    from hpcsearch.search.encoding import Encoding

    setting = Setting(problem, Encoding(problem.space), np.random.Generator(np.random.PCG64(seed)), background, seed)
    return Search(strategy(setting, **settings), setting, seed)


def known_strategies() -> dict[str, str]:
    """Strategies by name, each with where its class is (``module:Class``)."""
    return {**BUILT_IN, **{entry.name: entry.value for entry in entry_points(group=GROUP)}}


def check_name(name: str) -> None:
    """Raises SearchError when no strategy is called so; files, which may hold one, are not looked at."""
    known = known_strategies()
    if not _is_file(name) and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise SearchError(
            f"There is no search strategy {name!r}.{guess}",
            f"Known strategies: {', '.join(sorted(known))}; or path/to/file.py:Class for one of your own.",
        )


def find(name: str) -> Callable[..., Strategy]:
    """The class of a strategy, by name or as ``path/to/file.py:Class``.

    Raises:
        SearchError: there is no such strategy, or it cannot be imported.
        LoadError: there is no such file or class, or importing the file fails.
    """
    if _is_file(name):
        return _as_strategy(name, load(Reference.parse(name, name.rpartition(":")[2], Path.cwd())))
    check_name(name)
    where = known_strategies()[name]
    module, _, attribute = where.partition(":")
    try:
        return _as_strategy(name, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        hint = f"Type: pip install 'hpcsearch[{name}]'" if name in _EXTRAS else f"Install what it needs; it is {where}."
        raise SearchError(f"Strategy {name!r} cannot be imported: {error}.", hint) from error


def _is_file(name: str) -> bool:
    return name.rpartition(":")[0].endswith(".py")


def _as_strategy(name: str, found: Any) -> Callable[..., Strategy]:
    missing = [method for method in ("ask", "pending", "tell") if not callable(getattr(found, method, None))]
    if not inspect.isclass(found) or missing:
        raise SearchError(
            f"Strategy {name!r} is {found!r:.60}, not a class with the methods ask, pending and tell.",
            "hpcsearch.search.base.Strategy describes what it needs.",
        )
    return cast("Callable[..., Strategy]", found)
