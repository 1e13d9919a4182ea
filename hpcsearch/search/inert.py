"""Hyperparameters that change nothing where a choice has some value, such as the width of a kernel that has none.

A problem can say so with a condition. Where it does not, results show it: configurations that differ in nothing else
come to exactly the same. Without this a search would go through all of them, since each is as good as the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcsearch.search.columns import Array, Column

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]

#: So many comparisons have to agree, at so many levels, before a hyperparameter is taken to change nothing.
_COMPARISONS = 4
_LEVELS = 2

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
    hashed = _hashes(rows)
    rules = []
    for column in range(len(columns)) if choices else ():
        first, second = _alike(hashed.sum(axis=1) - hashed[:, column])
        same = objectives[first] == objectives[second]
        if same.sum() < _COMPARISONS:
            continue
        for choice in choices:
            if choice == column:
                continue
            for value in np.unique(rows[first, choice]):
                here = rows[first, choice] == value
                # Of one level alone it may be a plateau, or the bound that stopped evaluations count as.
                levels = len(np.unique(objectives[first[here]]))
                if here.sum() >= _COMPARISONS and levels >= _LEVELS and same[here].all():
                    rules.append((choice, float(value), column))
    return Inert(tuple(rules))


def _hashes(rows: Array) -> Hashes:
    """A hash of each number, by its place; those of a row are added up, and taken away again, without rounding."""
    bits = (np.where(np.isnan(rows), -1.0, rows) + 0.0).view(np.uint64)  # of -0.0 that makes 0.0
    odd = np.random.default_rng(0).integers(2**64, size=rows.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.asarray((bits ^ (bits >> np.uint64(29)) ^ (bits >> np.uint64(47))) * odd, np.uint64)


def _alike(hashes: Hashes) -> tuple[Indices, Indices]:
    """Places of equal hashes, in neighbouring pairs."""
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    return order[:-1][same], order[1:][same]
