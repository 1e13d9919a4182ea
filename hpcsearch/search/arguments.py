"""The settings of a strategy or a stopping rule: read off its constructor; what is given is brought into its types."""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from hpcsearch.errors import SearchError
from hpcsearch.search.plugins import Kind

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def check_arguments(kind: Kind, name: str, made: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the types that a class states, which is known by ``name``.

    Raises:
        SearchError: an argument that it does not have, a value that is not of its type, or none where it needs one.
    """
    parameters = list(inspect.signature(made).parameters.values())[kind.given :]
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    known = {one.name: one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    hints = typing.get_type_hints(made.__init__ if inspect.isclass(made) else made)
    title = f"{kind.noun.capitalize()} {name!r}"
    checked = {}
    for key, value in arguments.items():
        if key not in known and not open_ended:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise SearchError(f"{title} has no argument {key!r}.{guess}", _describe(kind, known))
        checked[key] = _convert(f"{kind.noun} {name!r}", key, value, hints.get(key, Any))
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in checked]
    if missing:
        raise SearchError(f"{title} needs a value for {', '.join(missing)}.", _describe(kind, known))
    return checked


def _describe(kind: Kind, known: Mapping[str, inspect.Parameter]) -> str:
    if not known:
        return "It takes no arguments."
    shown = (key if one.default is one.empty else f"{key}={_text(one.default)}" for key, one in known.items())
    return f"Its arguments and defaults: {', '.join(shown)}. Type {kind.option} NAME=VALUE."


def _text(value: Any) -> str:
    """A default as it would be typed."""
    if isinstance(value, bool | None):
        return str(value).lower()
    return str(value) or repr(value)


def _convert(owner: str, key: str, value: Any, wanted: Any) -> Any:
    """A value of the type ``wanted``: as it is, or made of text."""
    options = typing.get_args(wanted) if typing.get_origin(wanted) in (types.UnionType, typing.Union) else (wanted,)
    for option in sorted(options, key=lambda option: option is not type(None)):  # 'none' is a text, too
        convert = _CONVERTERS.get(option)
        if convert is None and not isinstance(value, str):
            return value  # of a kind that cannot be typed
        if convert is not None:
            try:
                return convert(value)
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
    words = " or ".join(getattr(option, "__name__", str(option)).replace("NoneType", "none") for option in options)
    raise SearchError(f"Argument {key}={value} of {owner} is not of type {words}.", f"Give {key} as {words}.")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, str) and value != int(value)):
        raise ValueError(value)
    return int(value)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _boolean(value: Any) -> bool:
    return _BOOLEANS[str(value).lower()]


def _text_only(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _none(value: Any) -> None:
    if str(value).lower() != "none":
        raise ValueError(value)


#: Makes a value of a type, from one of it or from text; raises one of the errors above where it cannot be.
_CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    int: _integer,
    float: _finite,
    bool: _boolean,
    type(None): _none,
    str: _text_only,
    Any: lambda value: value,
}
