"""The user's function on its way to the nodes: pickled with what it refers to, and called there with a configuration.

Functions of a notebook or a script are pickled by value; those of a module by its name, which is looked for there along
the same search path.
"""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.evaluation import NO_METRIC, Configuration

FILE = "function.pkl"

#: The run.py of an experiment.
RUN = f"""\
from pathlib import Path

from hpcsearch.experiment.function import load

run = load(Path(__file__).with_name("{FILE}"))
"""


@dataclass(frozen=True)
class Call:
    """The function with what it is called with.

    Attributes:
        function: the user's.
        names: its hyperparameters; others in a configuration are none of its affair.
        objects: of hyperparameters, the value behind each label.
        needs_metric: whether it has to return a number.
    """

    function: Callable[..., Any]
    names: tuple[str, ...]
    objects: Mapping[str, Mapping[str, Any]]
    needs_metric: bool = True

    def __call__(self, configuration: Configuration, /) -> Any:
        own = arguments(configuration, self.names, self.objects)
        returned = self.function(**own)
        return returned if self.needs_metric else _with_or_without_metric(returned)


def arguments(
    configuration: Configuration, names: tuple[str, ...], objects: Mapping[str, Mapping[str, Any]]
) -> Configuration:
    """What the function gets of a configuration, in the order of its dict and with the values that were given there."""
    return {
        name: objects[name][configuration[name]] if name in objects else configuration[name]
        for name in names
        if name in configuration
    }


def check(function: Any, names: tuple[str, ...]) -> None:
    """Raises UsageError when it is no function, or takes other arguments than these."""
    if not callable(function) or inspect.isclass(function) or inspect.iscoroutinefunction(function):
        raise UsageError(f"{function!r} is no function that could be called.", "Give the training function first.")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions of C extensions have none
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        called = f"{_name(function)}({', '.join(signature.parameters)})"
        raise UsageError(
            f"{called} cannot be called with {', '.join(names) or 'no arguments'}: {error}.",
            "The keys of the dict are the names of the function's arguments.",
        ) from None


def save(call: Call, folder: Path) -> None:
    """Writes ``FILE`` into a folder.

    Raises:
        UsageError: something that the function refers to cannot be pickled.
    """
    from hpcsearch.experiment.pickling import pickled  # which a node does without

    body = pickled(call, _name(call.function))
    search_path = [str(Path(folder).absolute()) for folder in sys.path]  # an empty one is the current folder
    (folder / FILE).write_bytes(pickle.dumps((search_path, body)))


def cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Callable[..., Any]:
    """A function with a cache, which is empty again where it arrives."""
    wrapped: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return wrapped


class _Loading:
    under_way = False


def load(file: Path) -> Callable[[Configuration], Any]:
    """The function that ``save`` wrote, as a run function."""
    search_path, body = pickle.loads(file.read_bytes())
    sys.path += [folder for folder in search_path if folder not in sys.path]
    _Loading.under_way = True
    try:
        call: Call = pickle.loads(body)
    finally:
        _Loading.under_way = False
    return call


def refuse_while_loading() -> None:
    """Raises UsageError where a module begins an experiment while it is imported for the function that it defines."""
    if _Loading.under_way:
        raise UsageError(
            "An experiment was begun while the module with its function was imported.",
            'Put the call below: if __name__ == "__main__":',
        )


def _with_or_without_metric(returned: Any) -> Any:
    """What a function that need not return a metric has returned, in a form that is always taken."""
    if isinstance(returned, Mapping) and "objective" in returned:
        return returned
    if hasattr(returned, "__float__") and not isinstance(returned, bool):
        return returned
    try:
        json.dumps(returned)
    except (TypeError, ValueError, RecursionError):
        returned = repr(returned)
    return {"objective": 0.0, NO_METRIC: True, "returned": returned}


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or repr(function))
