"""Places away from the best known configuration, so that a search which is caught near a local optimum gets out.

Where others depend on the hyperparameter that differs, such a place is a search of its own: what they are worth there
has to be found out for a while before it can be as good as what has been searched for long. So the best *there* is
sought, whether it promises to be the best of all or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask
from hpcsearch.search.model import Learned

#: By how much a range's value differs from the best one's, as a share of the range.
_AWAY_BY = 0.15


@dataclass(frozen=True)
class Niche:
    """Where one hyperparameter has another value than in the best known configuration.

    Attributes:
        column: its place in a row.
        best: the best known row, shape (1, columns).
        found: where others depend on the hyperparameter the best row known there, shape (1, columns); else none.
        worth: what is to be improved on: the expected objective of that row, or of the best of all.
    """

    column: int
    best: Array
    found: Array
    worth: float

    def holds(self, encoding: Encoding, rows: Array) -> Mask:
        """Which rows are in it."""
        return _away(encoding, rows, self.best, self.column)


def draw_niche(encoding: Encoding, learned: Learned, rng: np.random.Generator) -> Niche | None:
    """The niche of a hyperparameter drawn at random, more often of one on which others depend; None where none is."""
    best = learned.best[:1]
    active = [i for i, column in enumerate(encoding.columns) if column.size > 1 and not np.isnan(best[:, i]).all()]
    if not len(best) or not active:
        return None
    weights = 1.0 + np.array([encoding.dependents[index] for index in active])
    column = int(rng.choice(active, p=weights / weights.sum()))
    inside = np.flatnonzero(_away(encoding, learned.best, best, column) & (encoding.dependents[column] > 0))[:1]
    return Niche(column, best, learned.best[inside], float(learned.worth[inside[0] if len(inside) else 0]))


def _away(encoding: Encoding, rows: Array, best: Array, index: int) -> Mask:
    column = encoding.columns[index]
    gap = np.abs(column.features(rows[:, index]) - column.features(best[:, index])).max(axis=1)
    return np.asarray(gap >= _AWAY_BY)
