"""Hyperparameters that change nothing where a choice has some value, such as the width of a kernel that has none.

A problem can say so with a condition. Where it does not, results show it: configurations that differ in nothing else
come to exactly the same. Without this a search would go through all of them, since each is as good as the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcsearch.search.columns import Array, Column

#: So many comparisons have to agree before a hyperparameter is taken to change nothing.
_COMPARISONS = 4

#: Comparisons are sought among so many results at most, the last ones; choices of more values than this decide nothing.
_LOOKED_AT = 400
_MOST_VALUES = 16


@dataclass(frozen=True)
class Inert:
    """What changes nothing: for each rule (choice, its value, column), columns by their places in a row."""

    rules: tuple[tuple[int, float, int], ...] = ()

    def collapsed(self, rows: Array) -> Array:
        """Rows in which what changes nothing is inactive, so that those that come to the same are the same."""
        if not self.rules:
            return rows
        collapsed = rows.copy()
        for choice, value, column in self.rules:
            collapsed[rows[:, choice] == value, column] = np.nan
        return collapsed


def find_inert(columns: Sequence[Column], rows: Array, objectives: Array) -> Inert:
    """What results that differ in one hyperparameter alone say; ``objectives`` are those of successes."""
    rows, objectives = rows[-_LOOKED_AT:], objectives[-_LOOKED_AT:]
    choices = [index for index, column in enumerate(columns) if 1 < column.size <= _MOST_VALUES]
    rules = []
    for column in range(len(columns)) if choices else ():
        first, second = _neighbours(np.delete(rows, column, axis=1))
        same = objectives[first] == objectives[second]
        if same.sum() < _COMPARISONS:
            continue
        for choice in choices:
            if choice == column:
                continue
            for value in np.unique(rows[first, choice]):
                here = same[rows[first, choice] == value]
                if len(here) >= _COMPARISONS and here.all():
                    rules.append((choice, float(value), column))
    return Inert(tuple(rules))


def _neighbours(rest: Array) -> tuple[Array, Array]:
    """Places of rows, one after the other, whose other columns are the same."""
    filled = np.where(np.isnan(rest), -1.0, rest)
    order = np.lexsort(filled.T) if filled.shape[1] else np.arange(len(filled))
    alike = (filled[order[1:]] == filled[order[:-1]]).all(axis=1)
    return order[:-1][alike], order[1:][alike]
