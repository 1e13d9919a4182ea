"""Grid search: every combination of chosen values once, in a fixed order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from ConfigSpace import ConfigurationSpace
from ConfigSpace.forbidden import ForbiddenConjunction, ForbiddenRelation
from ConfigSpace.hyperparameters import FloatHyperparameter, NumericalHyperparameter

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.hyperparameter import nearest
from hpcsearch.search.base import Objectives, Outcome, Setting
from hpcsearch.search.columns import Array, Column

#: More points than this on one range are a slip.
_MOST_POINTS = 1_000_000

#: Machines do not agree on the last digits of a logarithmic range, and a resumed search must find the same values.
_DIGITS = ".12g"

#: A size is counted over at most so many combinations of those hyperparameters that decide about others.
_MOST_COUNTED = 1_000_000

_HINT = "Type --search-arg points=10 for all ranges, or --search-arg points_of=NAME:5,OTHER:20 for single ones."


class GridSearch:
    """All combinations: the points of each range, and every value of what lists its values.

    The points lie evenly on the range's own scale: a log-uniform range is divided geometrically. Of integers none comes
    twice. It is walked through a block at a time and never held as a whole.

    Args:
        setting: problem and encoding; nothing here is left to chance.
        points: points on each range.
        points_of: points on single ranges, ``NAME:COUNT`` with commas between; these go before ``points``.
    """

    objectives: Objectives = "any"

    def __init__(self, setting: Setting, points: int | None = None, points_of: str = "") -> None:
        self._encoding = setting.encoding
        self._space = setting.problem.space
        counts = _counts(self._space, points, points_of)
        self._numbers = [_numbers(column, counts.get(column.name)) for column in self._encoding.columns]
        self._configurations = self._walk()
        self.exhausted = False

    def ask(self, n: int) -> Sequence[Configuration]:
        taken = list(itertools.islice(self._configurations, n))
        self.exhausted = len(taken) < n
        return taken

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """Nothing to remember: what is known already is passed over by the search."""

    def tell(self, results: Sequence[Outcome]) -> None:
        """Nothing to learn."""

    @cached_property
    def size(self) -> float:
        """How many combinations there are; infinite when they are too many to be counted.

        Only hyperparameters that decide about others are combined; all others multiply the number.
        """
        deciding = _deciding(self._space)
        columns = self._encoding.columns
        free = [index for index, column in enumerate(columns) if column.name not in deciding]
        numbers = [None if index in free else numbers for index, numbers in enumerate(self._numbers)]
        total, combined = 0.0, 0
        for rows in self._encoding.walk(numbers):
            combined += len(rows)
            if combined > _MOST_COUNTED:
                return math.inf
            legal = rows[self._encoding.allowed(rows)]
            active = self._encoding.active(legal)[:, free]
            total += np.where(active, [float(len(self._numbers[index])) for index in free], 1.0).prod(axis=1).sum()
        return float(total)

    def _walk(self) -> Iterator[Configuration]:
        floats = [
            (name, hyperparameter.lower, hyperparameter.upper)
            for name, hyperparameter in self._space.items()
            if isinstance(hyperparameter, FloatHyperparameter)
        ]
        for rows in self._encoding.walk(self._numbers):
            for configuration in self._encoding.decode(rows[self._encoding.allowed(rows)]):
                for name, lower, upper in floats:
                    if name in configuration:
                        configuration[name] = min(max(float(f"{configuration[name]:{_DIGITS}}"), lower), upper)
                yield configuration


def _counts(space: ConfigurationSpace, points: int | None, points_of: str) -> dict[str, int]:
    """How many points each range gets.

    Raises:
        SearchError: a range has none, a number makes no sense, or a name is no range's.
    """
    ranges = sorted(name for name in space if isinstance(space[name], NumericalHyperparameter))
    counts = {} if points is None else dict.fromkeys(ranges, points)
    for part in filter(None, (part.strip() for part in points_of.split(","))):
        name, colon, text = part.rpartition(":")
        if not colon or not text.strip().isdecimal():
            raise SearchError(f"points_of={points_of!r} of the grid has {part!r}, which is not NAME:COUNT.", _HINT)
        if name not in space:
            message = f"points_of={points_of!r} of the grid names {name!r}, which is no hyperparameter."
            raise SearchError(message, nearest(name, ranges))
        if name not in ranges:
            raise SearchError(f"{name!r} lists its values: the grid has all of them.", f"Leave {part} out.")
        counts[name] = int(text)
    _check(ranges, counts)
    return counts


def _check(ranges: Iterable[str], counts: Mapping[str, int]) -> None:
    missing = [name for name in ranges if name not in counts]
    if missing:
        raise SearchError(f"The grid needs to know how many points to take of {', '.join(missing)}.", _HINT)
    for name, count in counts.items():
        if not 1 <= count <= _MOST_POINTS:
            raise SearchError(
                f"{count} points on the range of {name} make no grid.", f"Give a number from 1 to {_MOST_POINTS:,}."
            )


def _numbers(column: Column, points: int | None) -> Array:
    """The values of one hyperparameter, as the encoding has them."""
    if points is None or column.size <= points:
        return column.all_numbers()
    unit = np.linspace(0.0, 1.0, points) if points > 1 else np.array([0.5])
    return np.unique(column.settle(unit))


def _deciding(space: ConfigurationSpace) -> set[Any]:
    """The names of those on whose values it depends whether others are active, or allowed."""
    parents = {parent.name for name in space for parent in space.parents_of[name]}
    forbidden = set()
    for clause in space.forbidden_clauses:
        for literal in clause.dlcs if isinstance(clause, ForbiddenConjunction) else (clause,):
            if isinstance(literal, ForbiddenRelation):
                forbidden |= {literal.left.name, literal.right.name}
            else:
                forbidden.add(literal.hyperparameter.name)
    return parents | forbidden
