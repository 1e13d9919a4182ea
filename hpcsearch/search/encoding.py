"""Configurations as rows of a matrix, and back: drawing, legality, features and keys, many at a time.

Rows follow ConfigSpace's order and vectors, NaN where a hyperparameter is inactive. Conditions and forbidden clauses
are ConfigSpace's own; spaces without them never touch its (slow) configuration objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import numpy as np
from ConfigSpace import ConfigurationSpace
from numpy.typing import NDArray

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.columns import Array, Column, freeze, make_column

Mask = NDArray[np.bool_]

_ABSENT = object()

#: Draws without a single legal row before a space is given up as one that forbids nearly everything.
_FRUITLESS_DRAWS = 200_000

#: Rows that are made at once on a walk through all combinations.
_BLOCK = 4096


class Encoding:
    """Between configurations (dicts of plain values) and vectors (rows of floats) of one space.

    Attributes:
        columns: one for each hyperparameter, in the order of a row.
        names: the hyperparameters in the order of a configuration (alphabetical).
        constrained: whether there are conditions or forbidden clauses.
        column_groups: of each column, its number among those that have features, -1 for one that is constant.
        feature_groups: the same number for each feature.
        size_bound: no more different configurations than this; exact unless ``constrained``, else ``math.inf``.
        dependents: of each column, how many hyperparameters have a condition on it.
    """

    def __init__(self, space: ConfigurationSpace) -> None:
        self.columns: list[Column] = [make_column(hyperparameter) for hyperparameter in space.values()]
        self.names = sorted(column.name for column in self.columns)
        self.size_bound = math.prod(column.size for column in self.columns)
        self._sorted = [(name, next(i for i, c in enumerate(self.columns) if c.name == name)) for name in self.names]
        self._conditions = [
            (index, list(space.parent_conditions_of[column.name]))
            for index, column in enumerate(self.columns)
            if space.parent_conditions_of[column.name]
        ]
        self.dependents = [len(space.children_of[column.name]) for column in self.columns]
        self._forbidden = [_forbidden_rows(clause, self) for clause in space.forbidden_clauses]
        self.constrained = bool(self._conditions or self._forbidden)
        self.key = self._make_key()
        widths = [column.features(np.empty(0)).shape[1] for column in self.columns]
        varied = np.cumsum(np.array(widths, np.intp) > 0) - 1
        self.column_groups = [int(number) if width else -1 for number, width in zip(varied, widths, strict=True)]
        self.feature_groups = np.repeat(np.asarray(varied, np.intp), widths)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` legal rows, each hyperparameter by its own distribution.

        Raises:
            SearchError: the forbidden clauses leave next to nothing.
        """
        if not self.constrained:
            return self.from_unit(rng.random((n, len(self.columns))))
        found: list[Array] = []
        missing, drawn = n, 0
        while missing > 0:
            size = max(2 * missing, 64)
            rows = self.from_unit(rng.random((size, len(self.columns))))[:missing]
            found.append(rows)
            missing -= len(rows)
            drawn = 0 if len(rows) else drawn + size
            if drawn > _FRUITLESS_DRAWS:
                raise SearchError(
                    f"The forbidden clauses leave next to nothing: none of {drawn} drawn configurations is legal.",
                    "Narrow the ranges instead of forbidding most of them.",
                )
        return np.concatenate(found) if found else np.empty((0, len(self.columns)))

    def from_unit(self, unit: Array) -> Array:
        """The legal rows among those that points of the unit cube, shape (n, columns), stand for."""
        rows = np.empty(unit.shape)
        for index, column in enumerate(self.columns):
            rows[:, index] = column.from_unit(unit[:, index])
        return self._prune(rows) if self.constrained else rows

    def complete(self, rows: Array, rng: np.random.Generator) -> Array:
        """The legal ones among ``rows``, with what has become active drawn and what has become inactive dropped."""
        filled = self.filled(rows, rng)
        return filled[self.allowed(filled)] if self.constrained else filled

    def filled(self, rows: Array, rng: np.random.Generator) -> Array:
        """As :meth:`complete`, with what is forbidden still among them; see :meth:`allowed`."""
        if not self._conditions:
            return rows
        gaps = np.isnan(rows)
        unit = rng.random(rows.shape)
        for index in np.flatnonzero(gaps.any(axis=0)):
            gap = gaps[:, index]
            rows[gap, index] = self.columns[index].from_unit(unit[gap, index])
        rows[~self.active(rows)] = np.nan
        return rows

    def legal(self, rows: Array) -> Mask:
        """Which rows are legal: all that is active has a legal value, all else has none, and nothing is forbidden."""
        legal = ~np.isinf(rows).any(axis=1)
        if not self.constrained:
            return np.asarray(legal & ~np.isnan(rows).any(axis=1))
        active = self.active(rows)
        return np.asarray(legal & (active == ~np.isnan(rows)).all(axis=1) & self.allowed(rows))

    def decode(self, rows: Array) -> list[Configuration]:
        """Configurations of plain values, inactive hyperparameters left out."""
        if not self._conditions:
            columns = [self.columns[index].values(rows[:, index]) for _, index in self._sorted]
            names = self.names
            return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        configurations: list[Configuration] = [{} for _ in range(len(rows))]
        for name, index in self._sorted:
            active = np.flatnonzero(~np.isnan(rows[:, index]))
            for row, value in zip(active.tolist(), self.columns[index].values(rows[active, index]), strict=True):
                configurations[row][name] = value
        return configurations

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Rows: NaN where a hyperparameter is absent, infinity where its value is not legal."""
        rows = np.full((len(configurations), len(self.columns)), np.nan)
        for index, column in enumerate(self.columns):
            values = [configuration.get(column.name, _ABSENT) for configuration in configurations]
            present = [row for row, value in enumerate(values) if value is not _ABSENT]
            if present:
                rows[present, index] = column.numbers([values[row] for row in present])
        return rows

    def features(self, rows: Array) -> Array:
        """What a model sees of the rows, shape (n, features): within [0, 1], in the middle where inactive."""
        if not self.columns:
            return np.zeros((len(rows), 0))
        return np.hstack([column.features(rows[:, index]) for index, column in enumerate(self.columns)])

    def walk(self, numbers: Sequence[Array | None]) -> Iterator[Array]:
        """Rows of all combinations of these numbers, one array for each column, a block at a time in a fixed order.

        What is inactive is NaN, and no row comes twice. Columns whose numbers are None stay NaN. Forbidden rows are
        among them; see :meth:`allowed`. Only a few blocks are held at any time.
        """
        conditions = dict(self._conditions)
        waiting = [(0, np.full((1, len(self.columns)), np.nan))]
        while waiting:
            index, rows = waiting.pop()
            while index < len(self.columns) and numbers[index] is None:
                index += 1
            if index == len(self.columns):
                yield rows
                continue
            of_column = cast(Array, numbers[index])
            size = max(1, _BLOCK // len(of_column))
            if len(rows) > size:
                starts = range(0, len(rows), size)
                waiting.extend((index, rows[start : start + size]) for start in reversed(starts))
                continue
            active = self._satisfied(conditions.get(index, ()), rows)
            times = np.where(active, len(of_column), 1)
            grown = np.repeat(rows, times, axis=0)
            grown[np.repeat(active, times), index] = np.tile(of_column, int(active.sum()))
            waiting.append((index + 1, grown))

    def enumerate(self, limit: int) -> Array | None:
        """Every legal row of a finite space, or None if there are more than ``limit`` (before forbidden clauses)."""
        if any(column.size > limit for column in self.columns):
            return None
        found = [np.empty((0, len(self.columns)))]
        count = 0
        for rows in self.walk([column.all_numbers() for column in self.columns]):
            count += len(rows)
            if count > limit:
                return None
            found.append(rows[self.allowed(rows)])
        return np.concatenate(found)

    def _make_key(self) -> Callable[[Mapping[str, Any]], Hashable]:
        """Of a configuration: equal for equal values, whatever the order of its names."""
        names = tuple(self.names)
        fixed = bool(names) and not self._conditions
        plain = itemgetter(*names) if fixed else (lambda c: tuple([c.get(name, _ABSENT) for name in names]))

        def key(configuration: Mapping[str, Any]) -> Hashable:
            try:
                values: Hashable = plain(configuration)
                hash(values)
            except (KeyError, TypeError):
                frozen = tuple([freeze(configuration.get(name, _ABSENT)) for name in names])
                return frozen[0] if fixed and len(names) == 1 else frozen  # as itemgetter does
            return values

        return key

    def _prune(self, rows: Array) -> Array:
        rows[~self.active(rows)] = np.nan
        return rows[self.allowed(rows)]

    def active(self, rows: Array) -> Mask:
        """What is active in each row; parents stand before children in a row, so one pass settles chains."""
        active = np.ones(rows.shape, dtype=np.bool_)
        settled = rows.copy()
        for index, conditions in self._conditions:
            active[:, index] = self._satisfied(conditions, settled)
            settled[~active[:, index], index] = np.nan
        return active

    @staticmethod
    def _satisfied(conditions: Sequence[Any], rows: Array) -> Mask:
        satisfied = np.ones(len(rows), dtype=np.bool_)
        for condition in conditions:
            satisfied &= condition.satisfied_by_vector_array(rows.T)
        return satisfied

    def allowed(self, rows: Array) -> Mask:
        """Which rows no clause forbids."""
        allowed = np.ones(len(rows), dtype=np.bool_)
        for is_forbidden in self._forbidden:
            allowed &= ~is_forbidden(rows)
        return allowed


def _forbidden_rows(clause: Any, encoding: Encoding) -> Callable[[Array], Mask]:
    """A test of rows against a forbidden clause: whole columns at once where that agrees with the row by row verdict.

    Some clauses of ConfigSpace answer differently for arrays, and the row by row verdict is the one that its own check
    of a configuration uses.
    """

    def one_by_one(rows: Array) -> Mask:
        return np.array([bool(clause.is_forbidden_vector(row)) for row in rows], dtype=np.bool_)

    def at_once(rows: Array) -> Mask:
        return np.asarray(clause.is_forbidden_vector_array(rows.T), dtype=np.bool_)

    unit = np.random.default_rng(0).random((256, len(encoding.columns)))
    probe = np.column_stack([column.from_unit(unit[:, i]) for i, column in enumerate(encoding.columns)])
    probe[np.random.default_rng(1).random(probe.shape) < 0.1] = np.nan
    return at_once if np.array_equal(at_once(probe), one_by_one(probe)) else one_by_one
