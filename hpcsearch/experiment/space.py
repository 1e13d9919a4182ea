"""What an experiment tries, from the dict that it is given: a problem in the words that a user would write it in."""

from __future__ import annotations

import itertools
import math
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcsearch.errors import UsageError
from hpcsearch.experiment.pickling import pickled

Values = Mapping[str, Any]

#: What a search space can hold as it is; everything else is tried under a label.
_PLAIN = (str, bool, int, float)
_PRIORS = {"log": "log-uniform", "log-uniform": "log-uniform", "uniform": "uniform"}
_EXAMPLE = "{'learning_rate': [0.001, 0.0005], 'dropout': [0.45, 0.7]}"


@dataclass(frozen=True)
class Space:
    """Hyperparameters in the order in which they were given.

    Attributes:
        names: the arguments of the function.
        spaces: what each hyperparameter is, as ``HpProblem.add_hyperparameter`` takes it; also of those that the
            function does not get.
        points: the configurations to be tried, where they are listed.
        objects: of hyperparameters whose values a search space cannot hold, the value behind each label.
    """

    names: tuple[str, ...]
    spaces: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]] = ()
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def problem(self, minimize: bool) -> str:
        """The text of a problem.py."""
        lines = ["from hpcsearch import HpProblem", "", f"Problem = HpProblem(minimize={minimize})"]
        lines += [f"Problem.add_hyperparameter({space!r}, {name!r})" for name, space in self.spaces.items()]
        lines += [f"Problem.add_starting_point(**{dict(point)!r})" for point in self.points]
        return "\n".join(lines) + "\n"


def single(label: str) -> Space:
    """One run without hyperparameters; a search space needs something, so it has the label."""
    return Space((), {"experiment": label}, [{"experiment": label}])


def zipped(values: Values) -> Space:
    """The first values of all lists, the second ones, and so on. What comes twice is run twice.

    Raises:
        UsageError: the lists are of different lengths, or are none.
    """
    lists = lists_of(values)
    if len({len(each) for each in lists.values()}) > 1:
        counts = ", ".join(f"{name} has {len(each)}" for name, each in lists.items())
        raise UsageError(
            f"Length of each function argument list must be equal: {counts}.",
            "For all combinations take grid_search, or hpcsearch.util.grid_params.",
        )
    return _listed(lists, list(zip(*lists.values(), strict=True)))


def product(values: Values) -> Space:
    """All combinations, in the order of the dict, the last key fastest; each once.

    Raises:
        UsageError: something is no list.
    """
    lists = lists_of(values)
    choices = {name: _distinct(each)[0] for name, each in lists.items()}
    return _listed(choices, list(itertools.product(*choices.values())))


def bounded(values: Values) -> Space:
    """Ranges from ``[lower, upper]``, in either order, whole numbers where both are; all choices of any other list.

    A third entry ``"log"`` divides a range by orders of magnitude. Equal bounds make a constant.

    Raises:
        UsageError: something is no list, or holds more than two numbers.
    """
    spaces, objects = {}, {}
    for name, entries in lists_of(values).items():
        spaces[name] = _range(name, entries)
        if spaces[name] is None:
            spaces[name], labels = _choices(_distinct(entries)[0])
            if labels:
                objects[name] = labels
    return Space(tuple(values), spaces, objects=objects)


def _range(name: str, entries: Sequence[Any]) -> Any:
    """The range between two numbers, a constant where they are equal; None where these are choices."""
    numbers = [entry for entry in entries if _is_number(entry)]
    prior = _PRIORS.get(entries[-1]) if isinstance(entries[-1], str) else None
    if len(numbers) != len(entries) - (prior is not None) or len(numbers) < 2:
        return None
    if len(numbers) > 2:
        raise UsageError(
            f"{name!r} has {len(numbers)} numbers, {reprlib.repr(list(entries))}: a range has two bounds.",
            f"Write {name!r}: [{min(numbers)!r}, {max(numbers)!r}], or take grid_search for single values.",
        )
    lower, upper = sorted(numbers)
    if lower == upper:
        return lower
    if isinstance(lower, float) or isinstance(upper, float):
        lower, upper = float(lower), float(upper)
    return (lower, upper) if prior is None else (lower, upper, prior)


def lists_of(values: Values) -> dict[str, list[Any]]:
    """The values of each hyperparameter, numpy's as Python's; raises UsageError where these are no lists."""
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{reprlib.repr(values)} says nothing of hyperparameters.", f"Give a dict like {_EXAMPLE}.")
    if not values:
        raise UsageError("The dict of hyperparameters is empty.", f"Give one like {_EXAMPLE}.")
    lists = {}
    for name, entries in values.items():
        if isinstance(entries, str | bytes | Mapping) or not hasattr(entries, "__iter__"):
            raise UsageError(f"{name!r} is {reprlib.repr(entries)}, not a list of values.", f"Write {name!r}: [...].")
        lists[name] = [entry.item() if isinstance(entry, np.generic) else entry for entry in entries]
        if not lists[name]:
            raise UsageError(f"The list of {name!r} is empty.", "Give it a value, or leave it out.")
    return lists


def _listed(lists: Mapping[str, Sequence[Any]], rows: Sequence[Sequence[Any]]) -> Space:
    """The points that are these rows; a row that comes again is told apart by its number."""
    spaces, objects, columns, keys = {}, {}, [], []
    for name, column in zip(lists, zip(*rows, strict=True), strict=True):
        values, numbers = _distinct(column)
        spaces[name], labels = _choices(values)
        if labels:
            objects[name] = labels
        columns.append([spaces[name][number] for number in numbers])
        keys.append(numbers)
    points = [dict(zip(lists, row, strict=True)) for row in zip(*columns, strict=True)]
    counts = Counter[tuple[int, ...]]()
    repeats = []
    for key in zip(*keys, strict=True):
        counts[key] += 1
        repeats.append(counts[key])
    if max(repeats) > 1:
        repeat = "repeat" if "repeat" not in lists else "repeat_number"
        spaces[repeat] = list(range(1, max(repeats) + 1))
        points = [{**point, repeat: number} for point, number in zip(points, repeats, strict=True)]
    return Space(tuple(lists), spaces, points, objects)


def _distinct(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The different ones among some values, and the number of each value among these; 1, 1.0 and True differ."""
    numbers: dict[Any, int] = {}
    firsts: list[Any] = []
    places = []
    for value in values:
        key = (type(value), value) if isinstance(value, _PLAIN) else pickled(value, reprlib.repr(value))
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(value)
        places.append(numbers[key])
    return firsts, places


def _choices(values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Different values as a search space can hold them, and what is behind them where these are labels."""
    plain = all(isinstance(value, _PLAIN) and (isinstance(value, str) or math.isfinite(value)) for value in values)
    if plain and len(set(values)) == len(values):
        return list(values), {}
    labels: dict[str, Any] = {}
    for value in values:
        text = reprlib.repr(value)
        more = (f"{text} #{number}" for number in itertools.count(2))
        labels[next(label for label in itertools.chain([text], more) if label not in labels)] = value
    return list(labels), labels


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
