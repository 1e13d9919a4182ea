"""The problem: hyperparameters, conditions between them, starting points, and the sense of the objective.

A file that holds an instance named ``Problem`` is what a search is given. The search space itself is a
ConfigSpace ``ConfigurationSpace``; configurations that come out of it are dicts of plain Python values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import ConfigSpace as cs
import numpy as np
from ConfigSpace.conditions import ConditionLike
from ConfigSpace.forbidden import ForbiddenLike

from hpcsearch.errors import ProblemError
from hpcsearch.evaluation import Configuration
from hpcsearch.hyperparameter import Hyperparameter, build, default_of, from_vector, legal, nearest, to_vector

_PARTS = (*get_args(ConditionLike), *get_args(ForbiddenLike))


class HpProblem:
    """A search space with starting points. The objective is maximised unless ``minimize`` is True.

    Every method that adds something checks it at once and raises ProblemError, leaving the problem as it was.
    """

    def __init__(self, minimize: bool = False) -> None:
        self.minimize = minimize
        self.space = cs.ConfigurationSpace()
        self._starting_points: list[Configuration] = []

    def add_hyperparameter(self, space: Any, name: str | None = None, default_value: Any = None) -> Hyperparameter:
        """Adds one hyperparameter and returns it, for use in conditions.

        Args:
            space: ``(int, int)`` or ``(float, float)`` for a range, with ``"log-uniform"`` or ``"uniform"`` as an
                optional third entry; a list of choices (ordered when all are numbers, otherwise categorical); a
                single value for a constant; or a ConfigSpace hyperparameter.
            name: may be left out for a ConfigSpace hyperparameter, which has its own.
            default_value: one of the values; by default the middle of a range, the first of a list.
        """
        hyperparameter = build(space, name, default_value)
        if hyperparameter.name in self.space:
            raise ProblemError(f"there is a hyperparameter {hyperparameter.name!r} already")
        if self._starting_points and not isinstance(hyperparameter, cs.Constant):
            raise ProblemError(
                f"{hyperparameter.name!r} is added after a starting point, which has no value for it",
                "add all hyperparameters before the first starting point",
            )
        self.space.add(hyperparameter)
        self._starting_points = [self._complete(point) for point in self._starting_points]
        return hyperparameter

    def add_dim(self, name: str, space: Any) -> Hyperparameter:
        """The older form of :meth:`add_hyperparameter`, name first."""
        return self.add_hyperparameter(space, name)

    def add_condition(self, condition: ConditionLike) -> None:
        """Makes a hyperparameter active for some values of another only, by a ConfigSpace condition."""
        self._add(condition)

    def add_conditions(self, conditions: Iterable[ConditionLike]) -> None:
        """Adds several conditions: all of them or none."""
        self._add(*conditions)

    def add_forbidden_clause(self, clause: ForbiddenLike) -> None:
        """Rules out a combination of values, by a ConfigSpace forbidden clause."""
        self._add(clause)

    def add_starting_point(self, **dims: Any) -> None:
        """Adds a configuration to be evaluated before any other.

        Every active hyperparameter needs a value; constants and inactive ones may be left out.
        """
        self._starting_points.append(self._complete(dims))

    @property
    def names(self) -> list[str]:
        """The names of the hyperparameters, in alphabetical order."""
        return sorted(self.space)

    @property
    def starting_points(self) -> list[Configuration]:
        """The starting points, in the order in which they were added."""
        return [dict(point) for point in self._starting_points]

    @property
    def size(self) -> float:
        """How many configurations there are.

        math.inf when there is no end of them, and when conditions or forbidden clauses make them hard to count.
        """
        if self.space.conditions or self.space.forbidden_clauses:
            return math.inf
        return math.prod(hyperparameter.size for hyperparameter in self.space.values())

    def check(self, configuration: Mapping[str, Any]) -> None:
        """Raises ProblemError unless every active hyperparameter, and no other, has a legal value."""
        point = self._complete(configuration)
        inactive = sorted(configuration.keys() - point.keys())
        if inactive:
            raise ProblemError(f"{inactive[0]!r} has a value but is inactive in {dict(configuration)}", "leave it out")
        missing = sorted(point.keys() - configuration.keys())
        if missing:
            raise ProblemError(f"{dict(configuration)} has no value for {missing[0]!r}", f"add {missing[0]!r}")

    def _add(self, *parts: ConditionLike | ForbiddenLike) -> None:
        for part in parts:
            if not isinstance(part, _PARTS):
                raise ProblemError(f"{part!r} is neither a condition nor a forbidden clause of ConfigSpace")
        # ConfigSpace keeps what it refuses, so that a copy goes first.
        real, self.space = self.space, copy.deepcopy(self.space)
        try:
            self.space.add(*parts)
            points = [self._complete(point) for point in self._starting_points]
        except ProblemError:
            raise
        except Exception as exc:
            reason = str(exc) or type(exc).__name__
            raise ProblemError(
                f"{', '.join(map(str, parts))} cannot be added: {reason}",
                "both sides must be in the problem, and the default values together must stay a legal configuration",
            ) from exc
        finally:
            self.space = real
        self.space.add(*parts)
        self._starting_points = points

    def _complete(self, given: Mapping[str, Any]) -> Configuration:
        """``given`` with constants, without inactive hyperparameters, every value in its own type and checked."""
        unknown = sorted(given.keys() - self.space.keys())
        if unknown:
            raise ProblemError(f"there is no hyperparameter {unknown[0]!r}", nearest(unknown[0], self.names))
        values = {name: legal(self.space[name], value) for name, value in given.items()}
        vector = np.full(len(self.space), np.nan)
        point: Configuration = {}
        for name in self.space:  # parents come before their children
            hyperparameter = self.space[name]
            if not all(condition.satisfied_by_vector(vector) for condition in self.space.parent_conditions_of[name]):
                continue
            if name not in values and not isinstance(hyperparameter, cs.Constant):
                raise ProblemError(f"{dict(given)} has no value for {name!r}", f"add {name!r}")
            point[name] = values[name] if name in values else default_of(hyperparameter)
            vector[self.space.index_of[name]] = to_vector(hyperparameter, point[name])
        try:
            self.space.check_configuration_vector_representation(vector)
        except ValueError as exc:
            raise ProblemError(f"{point} is not allowed: {exc}") from exc
        return dict(sorted(point.items()))

    def __str__(self) -> str:
        text = repr(self.space).rstrip("\n")
        if not self._starting_points:
            return text
        title = "Starting Points:" if len(self._starting_points) > 1 else "Starting Point:"
        points = ",\n ".join(f"{number}: {point}" for number, point in enumerate(self._starting_points))
        return f"{text}\n\n{title}\n{{{points}}}"

    __repr__ = __str__


def to_configuration(point: cs.Configuration) -> Configuration:
    """The active values of a ConfigSpace configuration as plain Python values, by name in alphabetical order."""
    space, vector = point.config_space, point.get_array()
    entries = ((name, vector[space.index_of[name]]) for name in sorted(space))
    return {name: from_vector(space[name], entry) for name, entry in entries if not math.isnan(entry)}
