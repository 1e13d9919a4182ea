"""Learning curves: what run functions reported while they ran."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcsearch.figures.study import Curve, Study, read_reports

#: So many evaluations have their curves drawn: the best ones, and a draw of the others.
BEST, OTHERS = 10, 30

#: So many metrics have a figure, the first ones by name.
METRICS = 12

#: No curve has more points than this.
_POINTS = 500


@dataclass(frozen=True)
class Curves:
    """One metric's curves, those of the best evaluations first."""

    metric: str
    by_step: bool
    best: tuple[Curve, ...]
    others: tuple[Curve, ...]
    note: str


def curves(study: Study) -> tuple[Curves, ...]:
    """The figures' data, one for each metric that was reported as numbers; empty where there is none."""
    best = [int(study.ids[index]) for index in study.ranked[:BEST]]
    rest = np.setdiff1d(study.ids, np.array(best, dtype=np.intp))
    number = min(OTHERS, len(rest))
    others = sorted(int(one) for one in np.random.default_rng(0).choice(rest, number, replace=False)) if number else []
    reports = read_reports(study.layout, [*best, *others])
    names = Counter(name for each in reports.values() for _, _, metrics in each for name in metrics)
    made = (_of_metric(study, name, best, others, reports) for name in sorted(names))
    return tuple(itertools.islice((one for one in made if one is not None), METRICS))


def _of_metric(study: Study, name: str, best: list[int], others: list[int], reports: dict[int, Any]) -> Curves | None:
    by_step = all(step is not None for each in reports.values() for step, _, metrics in each if name in metrics)
    objectives = dict(zip(study.ids.tolist(), study.table.columns["objective"], strict=True))

    def drawn(ids: list[int]) -> tuple[Curve, ...]:
        found = (_curve(one, objectives[one], name, by_step, reports.get(one, ())) for one in ids)
        return tuple(curve for curve in found if curve.values)

    first, second = drawn(best), drawn(others)
    if not first and not second:
        return None
    note = f"The curves of the {len(first)} best evaluations that reported it"
    return Curves(name, by_step, first, second, f"{note}, and of {len(second)} others drawn at random.")


def _curve(evaluation: int, objective: float | None, name: str, by_step: bool, reports: Any) -> Curve:
    points = [(step if by_step else at, metrics[name]) for step, at, metrics in reports if _number(metrics.get(name))]
    points = points[:: max(1, math.ceil(len(points) / _POINTS))]
    begin = 0.0 if by_step or not points else points[0][0]
    at = tuple(float(where - begin) for where, _ in points)
    return Curve(evaluation, objective, at, tuple(float(value) for _, value in points))


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
