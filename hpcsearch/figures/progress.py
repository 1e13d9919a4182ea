"""The objective over time, and the best of it so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcsearch.figures.study import Indices, Numbers, Study
from hpcsearch.figures.thinning import note, thinned

POINTS = 4000


@dataclass(frozen=True)
class Progress:
    """Evaluations with an objective by the time at which they were recorded, and the best so far as a staircase."""

    shown: Indices  # indices of the study
    best_at_s: Numbers
    best: Numbers
    note: str


def progress(study: Study, points: int = POINTS) -> Progress:
    """The data of the figure."""
    valued = study.valued
    finished = valued[np.isin(valued, study.ranked)]
    values = study.objective[finished]
    so_far = np.minimum.accumulate(values) if study.minimize else np.maximum.accumulate(values)
    better = np.ones(len(so_far), dtype=bool)
    better[1:] = so_far[1:] != so_far[:-1]
    steps = finished[better]
    shown = thinned(valued, points, steps)
    at_s, best = study.elapsed_s[steps], study.objective[steps]
    if len(valued):  # the last step goes on to the last result
        at_s = np.append(at_s, study.elapsed_s[valued[-1]])
        best = np.append(best, best[-1:])[: len(at_s)]
    return Progress(shown, at_s[: len(best)], best, note(len(shown), len(valued), "those that were the best so far"))
