"""How a script gets its values: put into its text, as arguments, or as variables of its environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.script.script import Script, scalars
from hpcsearch.script.substitution import find_places, substitute, substitute_text

#: What evaluations know by these names already.
_TAKEN = frozenset({"CONFIG", "RESULT", "EVALUATION", "DIRECTORY", "ARTIFACTS", "SLOT", "ROOT", "SITE"})


@dataclass(frozen=True)
class Injected:
    """A script as it is run for one configuration: its text, its arguments, and variables of its environment."""

    text: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def inject(script: Script, text: str, values: Mapping[str, Any]) -> Injected:
    """Gives a script its values, but for arrays, which it loads as files.

    Args:
        script: the script.
        text: what is in its file.
        values: the values by name.

    Raises:
        UsageError: they cannot be put into the text.
    """
    own = {name: values[name] for name in scalars(script.dimensions)}
    return INJECTORS[script.inject](script, text, own)


def check(script: Script, text: str) -> list[str]:
    """What is to be said about a script and the names of its hyperparameters.

    Raises:
        UsageError: a hyperparameter would change nothing, or has a name that cannot be used.
    """
    names = scalars(script.dimensions)
    if script.inject == "env":
        wrong = next((name for name in names if variable(name).removeprefix("HPCSEARCH_") in _TAKEN), None)
        if wrong is not None:
            raise UsageError(f"{variable(wrong)} means something else to every evaluation.", "Rename it, or use args.")
    if script.inject not in ("substitute", "regex"):
        return []
    if not script.is_python and script.inject == "substitute":
        raise UsageError(
            f"{script.name} is no Python script (its name does not end in .py), so values cannot be put into it.",
            "Type --inject args, env or regex.",
        )
    if script.inject == "regex":
        unread = [name for name in names if substitute_text(text, {name: "\0"}) == text]
        changes: tuple[tuple[str, int], ...] = ()
    else:
        places = find_places(text, names, script.name)
        unread = sorted({*names} - {read[0] for read in places.reads})
        changes = places.changes
    if unread:
        raise UsageError(
            f"{script.name} never reads {' nor '.join(unread)}: its value would change nothing.",
            "Name a variable that the script reads, or hand it over with --inject args or env.",
        )
    return [
        f"{script.name}, line {line}, changes {name}: that has no effect, since {name} is replaced wherever it is read."
        for name, line in changes
    ]


def variable(name: str) -> str:
    """The environment's variable for a hyperparameter."""
    return f"HPCSEARCH_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


def _substituted(script: Script, text: str, values: Mapping[str, Any]) -> Injected:
    return Injected(substitute(text, values, script.name), script.arguments)


def _matched(script: Script, text: str, values: Mapping[str, Any]) -> Injected:
    return Injected(substitute_text(text, values), script.arguments)


def _as_arguments(script: Script, text: str, values: Mapping[str, Any]) -> Injected:
    """``{lr}`` in an argument is the value; what has no such place is added at the end as ``--lr 0.01``."""
    placed: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            return match[0]
        placed.add(name)
        return str(values[name])

    arguments = [re.sub(r"\{([\w.-]+)\}", value, argument) for argument in script.arguments]
    for name in values:
        if name not in placed:
            arguments += [f"--{name}", str(values[name])]
    return Injected(text, tuple(arguments))


def _as_variables(script: Script, text: str, values: Mapping[str, Any]) -> Injected:
    return Injected(text, script.arguments, {variable(name): str(value) for name, value in values.items()})


INJECTORS: Mapping[str, Callable[[Script, str, Mapping[str, Any]], Injected]] = {
    "substitute": _substituted,
    "regex": _matched,
    "args": _as_arguments,
    "env": _as_variables,
}
