"""Single hyperparameters: the short forms they are written in, their legal values, and these as vector entries."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import ConfigSpace as cs
import numpy as np
from ConfigSpace import hyperparameters

from hpcsearch.errors import ProblemError

Hyperparameter = hyperparameters.Hyperparameter[Any, Any]
Value = str | bool | int | float

_PRIORS = {"uniform": False, "log-uniform": True}  # prior -> sampled on a log scale
#: Columns that results.csv has beside the hyperparameters.
RESERVED = frozenset({"id", "objective", "elapsed_sec", "state", "duration", "node", "start", "end"})
_DECIMALS = 13  # ConfigSpace rounds the bounds of float ranges to so many
_SYNTAX = "write (1, 100), (0.1, 1.0), (1e-4, 1.0, 'log-uniform'), ['a', 'b'], a constant, or a ConfigSpace object"


def build(space: Any, name: str | None, default_value: Any = None) -> Hyperparameter:
    """The hyperparameter that ``space`` describes; see :meth:`hpcsearch.HpProblem.add_hyperparameter`.

    Raises:
        ProblemError: no such form of a space, bounds or choices that make no sense, or an illegal default value.
    """
    name = _checked_name(space, name)
    try:
        hyperparameter = _build(name, space)
    except ValueError as exc:
        raise ProblemError(f"{name}: ConfigSpace does not take {space!r}: {exc}") from exc
    if default_value is None:
        return hyperparameter
    value = legal(hyperparameter, default_value)
    if hyperparameter is space:
        raise ProblemError(
            f"the ConfigSpace hyperparameter {name!r} has a default value of its own", "leave it out here"
        )
    return _build(name, space, default_value=value)


def legal(hyperparameter: Hyperparameter, value: Any) -> Value:
    """``value`` in the hyperparameter's own type; raises ProblemError when it is none of its values."""
    name, value = hyperparameter.name, plain(value)
    choices = _choices(hyperparameter)
    if choices is not None:
        for choice in choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        raise ProblemError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}", nearest(value, choices))
    whole = isinstance(hyperparameter, hyperparameters.IntegerHyperparameter)
    lower, upper = hyperparameter.lower, hyperparameter.upper  # type: ignore[attr-defined] # all but the listed have them
    if _is_number(value) and math.isfinite(value) and (not whole or value == int(value)):
        inside = min(max(value, lower), upper)
        if math.isclose(value, inside, rel_tol=1e-12, abs_tol=10.0**-_DECIMALS):
            return int(inside) if whole else float(inside)
    raise ProblemError(f"{name}={value!r} is not a {'whole ' if whole else ''}number from {lower} to {upper}")


def default_of(hyperparameter: Hyperparameter) -> Value:
    """The default value as a plain Python value."""
    return legal(hyperparameter, hyperparameter.default_value)


def to_vector(hyperparameter: Hyperparameter, value: Value) -> float:
    """The entry for a legal value in ConfigSpace's vectors."""
    choices = _choices(hyperparameter)
    if choices is None or isinstance(hyperparameter, cs.Constant):
        return float(hyperparameter.to_vector(value))
    return float(choices.index(value))


def from_vector(hyperparameter: Hyperparameter, entry: float) -> Value:
    """The plain value for an entry in ConfigSpace's vectors."""
    choices = _choices(hyperparameter)
    if choices is None:
        value: Value = plain(hyperparameter.to_value(entry))
        return value
    return choices[0] if isinstance(hyperparameter, cs.Constant) else choices[round(entry)]


def plain(value: Any) -> Any:
    """``value``, made a Python object if it is a numpy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def nearest(name: Any, known: Iterable[Any]) -> str:
    """A hint that names the one of ``known`` that ``name`` was probably meant to be, or all of them."""
    texts = [str(one) for one in known]
    close = difflib.get_close_matches(str(name), texts, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(texts) or 'none'}"


def _checked_name(space: Any, name: Any) -> str:
    if isinstance(space, hyperparameters.Hyperparameter):
        if name not in (None, space.name):
            raise ProblemError(
                f"the hyperparameter {space.name!r} is added under another name, {name!r}", "leave it out"
            )
        name = str(space.name)
    if not isinstance(name, str) or not name:
        raise ProblemError(
            f"the name of a hyperparameter must be a text, not {name!r}",
            'add_hyperparameter takes the space first, as in add_hyperparameter((1, 100), "units")',
        )
    if name in RESERVED:
        raise ProblemError(
            f"{name!r} cannot be the name of a hyperparameter, because results.csv has a column of that name",
            f"call it something like '{name}_value'",
        )
    return name


def _build(name: str, space: Any, **default: Value) -> Hyperparameter:
    match plain(space):
        case hyperparameters.Hyperparameter() as hyperparameter:
            _check_choices(name, _choices(hyperparameter))
            return hyperparameter
        case tuple() as parts:
            return _range(name, tuple(map(plain, parts)), **default)
        case list() as parts:
            return _listed(name, tuple(map(plain, parts)), **default)
        case str() | bool() | int() | float() as value:
            _check_choices(name, (value,))
            return cs.Constant(name, value)
    raise ProblemError(f"{name}: {space!r} is no search space", _SYNTAX)


def _range(name: str, space: tuple[Any, ...], **default: Any) -> Hyperparameter:
    match space:
        case (lower, upper) | (lower, upper, "uniform" | "log-uniform") if _is_number(lower) and _is_number(upper):
            log = _PRIORS[space[2]] if len(space) == 3 else False
        case _:
            raise ProblemError(f"{name}: {space!r} is no search space", _SYNTAX)
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise ProblemError(
            f"{name}: the lower bound of {space!r} must be below the upper one, and both finite",
            f"write {(upper, lower, *space[2:])!r}" if lower > upper else "for a constant, give the value alone",
        )
    if log and lower <= 0:
        raise ProblemError(f"{name}: a log-uniform range must begin above 0, not at {lower!r}")
    if isinstance(lower, int) and isinstance(upper, int):
        if max(abs(lower), abs(upper)) >= 2**53:
            raise ProblemError(f"{name}: the bounds of {space!r} are too large for whole numbers", "use floats")
        return cs.UniformIntegerHyperparameter(name, lower, upper, log=log, **default)
    if round(lower, _DECIMALS) >= round(upper, _DECIMALS) or (log and round(lower, _DECIMALS) <= 0):
        raise ProblemError(f"{name}: {space!r} is finer than {_DECIMALS} decimals", "search the exponent instead")
    return cs.UniformFloatHyperparameter(name, float(lower), float(upper), log=log, **default)


def _listed(name: str, choices: tuple[Any, ...], **default: Any) -> Hyperparameter:
    _check_choices(name, choices)
    if all(_is_number(choice) for choice in choices):
        return cs.OrdinalHyperparameter(name, choices, **default)
    return cs.CategoricalHyperparameter(name, choices, **default)


def _check_choices(name: str, choices: Sequence[Any] | None) -> None:
    if choices is not None and not choices:
        raise ProblemError(f"{name}: the list of choices is empty")
    for position, choice in enumerate(choices or ()):
        if not isinstance(choice, Value) or (isinstance(choice, float) and not math.isfinite(choice)):
            raise ProblemError(
                f"{name}: the choice {choice!r} is neither text, bool nor a finite number",
                "give each choice a name, and look it up in the run function",
            )
        if choice in choices[:position]:  # type: ignore[index] # not None here
            raise ProblemError(f"{name}: the choices {choices!r} hold {choice!r} twice (True equals 1, and False 0)")


def _choices(hyperparameter: Hyperparameter) -> tuple[Value, ...] | None:
    """The values of a hyperparameter that lists them, otherwise None."""
    match hyperparameter:
        case cs.CategoricalHyperparameter(choices=values) | cs.OrdinalHyperparameter(sequence=values):
            return tuple(map(plain, values))
        case cs.Constant(value=value):
            return (plain(value),)
    return None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
