"""The user's function on its way to the nodes: pickled with what it refers to, and called there with a configuration.

Functions of a notebook or a script are pickled by value; those of a module by its name, which is looked for there along
the same search path.
"""

from __future__ import annotations

import inspect
import json
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.errors import LoadError, UsageError
from hpcsearch.evaluation import Configuration
from hpcsearch.reference import text_of
from hpcsearch.runfunction import as_run_function

FILE = "function.pkl"

#: The run.py of an experiment.
RUN = f"""\
from pathlib import Path

from hpcsearch.experiment.function import load

run = load(Path(__file__).with_name("{FILE}"))
"""

#: In the metadata of an evaluation without a metric: its objective says nothing.
NO_METRIC = "no_metric"


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
        call = as_run_function(self.function, self.names) if self.names else lambda _own: self.function()
        returned = call(own)
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
    """Raises LoadError when it is no function, or takes other arguments than these."""
    if names or not callable(function):
        as_run_function(function, names)
        return
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise LoadError(
            f"{_name(function)} cannot be called without arguments: {error}.", "Give a dict with their values."
        ) from None
    except ValueError:  # some functions of C extensions have no signature
        return


def save(call: Call, folder: Path) -> None:
    """Writes ``FILE`` into a folder.

    Raises:
        UsageError: something that the function refers to cannot be pickled.
    """
    import cloudpickle

    try:
        body = cloudpickle.dumps(call)
    except Exception as error:  # noqa: BLE001 - whatever some object's own pickling raises
        raise UsageError(
            f"{_name(call.function)} cannot be sent to other processes: {text_of(error)}.",
            "Let the function make or open such objects itself, instead of taking them from outside.",
        ) from None
    search_path = [str(Path(folder).absolute()) for folder in sys.path]  # an empty one is the current folder
    (folder / FILE).write_bytes(pickle.dumps((search_path, body)))


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
