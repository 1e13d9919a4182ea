"""Run functions: how to call them, and what came back.

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from hpcsearch.errors import HpcsearchError, LoadError
from hpcsearch.evaluation import Configuration, Failure, Resources, Result
from hpcsearch.objectives import OBJECTIVES, split
from hpcsearch.reference import Reference, load, text_of, user_traceback

__all__ = [
    "BadResultError",
    "Reference",
    "RunFunction",
    "as_run_function",
    "failure_from",
    "is_sized",
    "load",
    "needed_by",
    "normalise",
    "resources",
]

RunFunction = Callable[[Configuration], Any]


#: Where a run function carries what says what each configuration needs.
_SIZER = "__hpcsearch_resources__"

_RUN_FORMS = "write run(config), which gets the configuration as a dict, or a parameter for every hyperparameter"
_RESULT_FORMS = "return a number, or a dict with the number under 'objective'"


class BadResultError(HpcsearchError):
    """A run function returned something that is no objective."""


def as_run_function(obj: Any, names: Collection[str] | None = None, comm: Any = None) -> RunFunction:
    """Checks that ``obj`` can be called with a configuration, and returns a function that takes it as one dict.

    With the ``names`` of the hyperparameters: a function that asks for one of them by name gets them as keywords and
    must take all (``run(lr, units)``, ``run(lr, units, epochs=10)``, ``run(lr, **others)``, ``run(**config)``). Any
    other gets the dict, as its only argument without a default (``run(config)``, ``run(config, epochs=10)``).

    Without ``names``: the dict, where the function can be called with one positional argument, otherwise keywords. One
    that needs no argument but takes several (``run(lr=0.1, units=10)``) gets keywords.

    With a communicator ``comm``, a function that has a parameter of that name gets it as a keyword.

    Raises:
        LoadError: not callable, or a signature that cannot be called so.
    """
    if not callable(obj) or inspect.isclass(obj) or inspect.iscoroutinefunction(obj):
        kind = "an async function" if inspect.iscoroutinefunction(obj) else _shown(obj)
        raise LoadError(f"the run function is {kind}, not a function that returns an objective", _RUN_FORMS)
    obj = _with_communicator(obj, comm)
    try:
        signature = inspect.signature(obj)
    except (ValueError, TypeError):  # some functions of C extensions have none
        return _as_is(obj)
    keywords = _keywords(signature, names)
    if keywords is None and _binds(signature, {}):
        return _as_is(obj)
    if keywords is not None and _binds(signature, **dict.fromkeys(keywords)):
        return lambda configuration: obj(**configuration)
    wanted = "its hyperparameters" if names is None else f"exactly the hyperparameters {', '.join(sorted(names))}"
    label = f"{getattr(obj, '__name__', 'run')}{signature}"
    raise LoadError(f"the run function {label} takes neither one configuration nor {wanted}", _RUN_FORMS)


def normalise(value: Any) -> Result:
    """What a run function returned, as a Result with plain values.

    A number (Python's, numpy's, or anything with ``__float__`` or ``item()``) is the objective. A dict has the number
    under ``"objective"``; its other entries are metadata, in which NaN and infinities become None, as JSON has neither.
    Several named numbers under ``"objective"`` are kept by their names, see :mod:`hpcsearch.objectives`.

    Raises:
        BadResultError: no number, a number that is not finite, or metadata that JSON cannot hold.
    """
    if type(value) is float and math.isfinite(value):
        return Result(value)
    if isinstance(value, Result):  # a program's, which has been here before
        return value
    if not isinstance(value, Mapping):
        return Result(_objective(value))
    if "objective" not in value:
        keys = ", ".join(map(repr, value)) or "none"
        raise BadResultError(f"the run function returned a dict without 'objective'; its keys: {keys}", _RESULT_FORMS)
    metadata = {}
    for key in value:
        if key == "objective":
            continue
        try:
            metadata[str(key)] = _jsonable(value[key])
        except (TypeError, RecursionError) as exc:
            message = f"the metadata {key!r} holds {exc}, which JSON cannot hold"
            raise BadResultError(message, "return numbers, texts, lists and dicts; write the rest to a file") from None
    if not isinstance(value["objective"], Mapping):
        return Result(_objective(value["objective"]), metadata)
    named = _named(value["objective"])
    kept: dict[str, Any] = {**named}
    if len(named) > 1:
        kept[OBJECTIVES] = [str(name) for name in value["objective"]]
    twice = sorted(kept.keys() & metadata.keys())
    if twice:
        raise BadResultError(f"{twice[0]!r} is among the objectives and beside them", "give it one place")
    return Result(next(iter(named.values())), {**kept, **metadata})


def _named(objectives: Mapping[Any, Any]) -> dict[str, float]:
    """Several objectives by name, without the senses that these carry."""
    if not objectives:
        raise BadResultError("the objective is a dict without entries", _RESULT_FORMS)
    names = [split(str(name)) for name in objectives]
    first, sense = names[0]
    if sense is not None:
        message = f"the first objective {first!r} has a sense of its own"
        raise BadResultError(message, "its sense is the problem's: HpProblem(minimize=True), or maximised by default")
    plain = [name for name, _ in names]
    twice = [name for name in plain if plain.count(name) > 1 or name == OBJECTIVES]
    if twice:
        raise BadResultError(f"an objective is called {twice[0]!r}, like another", "give each a name of its own")
    return {name: _objective(number, name) for name, number in zip(plain, objectives.values(), strict=True)}


def failure_from(exc: BaseException) -> Failure:
    """Why an evaluation failed, from what its run function raised; the traceback has the user's own frames alone.

    An error with ``details`` of its own has these instead.
    """
    if isinstance(exc, SystemExit):
        message = f"the run function called sys.exit({exc.code!r})"
    else:
        message = exc.message if isinstance(exc, HpcsearchError) else text_of(exc)
    return Failure(type(exc).__name__, message, getattr(exc, "details", "") or user_traceback(exc))


def resources(sizer: Callable[[Configuration], Resources]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Has a run function say what each evaluation needs: ``@hpcsearch.resources(lambda config: Resources(...))``.

    Args:
        sizer: called with a configuration, before it is placed; in a process that is not the one which will run it.
    """

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        setattr(run, _SIZER, sizer)
        return run

    return decorate


def is_sized(run: Any) -> bool:
    """Whether a run function says what each evaluation needs."""
    return hasattr(run, _SIZER)


def needed_by(run: Any, configuration: Configuration, default: Resources) -> Resources:
    """What an evaluation needs: ``default`` where the run function does not say.

    Raises:
        BadResultError: the run function says something else than Resources.
    """
    if not is_sized(run):
        return default
    needed = getattr(run, _SIZER)(dict(configuration))
    if not isinstance(needed, Resources):
        message = f"the run function's resources are {_shown(needed)}, not Resources"
        raise BadResultError(message, "return hpcsearch.Resources(nodes=..., ranks_per_node=..., cores=..., gpus=...)")
    return needed


def _with_communicator(obj: Callable[..., Any], comm: Any) -> Callable[..., Any]:
    """The same without its parameter ``comm``, where it has one and there is a communicator for it."""
    try:
        parameters = inspect.signature(obj).parameters
    except (ValueError, TypeError):
        return obj
    if "comm" not in parameters:
        return obj
    if comm is not None:
        return functools.partial(obj, comm=comm)
    if parameters["comm"].default is inspect.Parameter.empty:
        message = f"the run function {getattr(obj, '__name__', 'run')} takes a communicator, and there is none"
        raise LoadError(message, "submit with -j mpi, or give it a default: comm=None")
    return obj


def _as_is(obj: Callable[..., Any]) -> RunFunction:
    return obj


def _keywords(signature: inspect.Signature, names: Collection[str] | None) -> Collection[str] | None:
    """The keywords that a function with this signature wants to be called with, or None where it wants the dict."""
    parameters = list(signature.parameters.values())
    if [one.kind for one in parameters] == [inspect.Parameter.VAR_KEYWORD]:
        return names or ()
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one.name for one in named if one.default is one.empty]
    if names is not None:
        return names if any(name in names for name in needed or [one.name for one in named]) else None
    dict_fits = _binds(signature, {}) and (needed or len(named) < 2)
    return None if dict_fits or not named else needed


def _binds(signature: inspect.Signature, *args: object, **kwargs: object) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _objective(value: Any, name: str = "") -> float:
    number, label = value, f"the objective {name!r}" if name else "the objective"
    try:
        if hasattr(value, "item"):  # scalars of numpy and torch
            number = value.item()
        if isinstance(number, bool) or not hasattr(number, "__float__"):
            raise TypeError
        number = float(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        remedy = getattr(type(value), "if_returned", "")
        raise BadResultError(f"{label} is {_shown(value)}, not one number{remedy}", _RESULT_FORMS) from None
    if not math.isfinite(number):
        raise BadResultError(f"{label} is {number}, not a finite number", "check for divergence, and raise")
    return number


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _jsonable(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return _jsonable(value.tolist())
    raise TypeError(_shown(value))


def _shown(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"
