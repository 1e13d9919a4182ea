"""How many nodes were held, busy and given back, over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcsearch.figures.study import Numbers, Study

_BINS = 400


@dataclass(frozen=True)
class Utilisation:
    """Nodes on average in each interval that begins at ``from_at`` (seconds since 1970, UTC) and is ``width_s`` long.

    ``busy`` is nodes' worth of slots that held an evaluation.
    """

    from_at: Numbers
    width_s: float
    held: Numbers
    busy: Numbers
    given_back: Numbers


def utilisation(study: Study) -> Utilisation | None:
    """The data of the figure; None before a node was held."""
    nodes = study.snapshot.nodes
    now = study.snapshot.taken_at
    if not nodes:
        return None
    held = [(one.held_from_at, now if one.held_to_at is None else one.held_to_at, 1.0) for one in nodes]
    given = [(end, end + one.given_back_s, 1.0) for one, (_, end, _) in zip(nodes, held, strict=True)]
    share = {
        (one.allocation, one.name): (1.0 / one.slots if one.slots else 0.0, end)
        for one, (_, end, _) in zip(nodes, held, strict=True)
    }
    busy = []
    for one in study.attempts:
        weight, end = share.get((one.allocation, one.node), (0.0, now))
        busy.append((one.started_at, min(end, end if one.ended_at is None else one.ended_at), one.slots * weight))
    begin = min(start for start, _, _ in held)
    last = max(end for _, end, _ in [*held, *given])
    edges = np.linspace(begin, max(last, begin + 1.0), _BINS + 1)
    return Utilisation(
        edges[:-1], float(edges[1] - edges[0]), _averaged(held, edges), _averaged(busy, edges), _averaged(given, edges)
    )


def _averaged(spans: Sequence[tuple[float, float, float]], edges: Numbers) -> Numbers:
    """The mean of the sum of (begin, end, weight) between each two edges: exact, however short the spans."""
    if not spans:
        return np.zeros(len(edges) - 1)
    begins, ends, weights = np.array(spans, dtype=np.float64).T
    area = _ramps(begins, weights, edges) - _ramps(np.maximum(begins, ends), weights, edges)
    return np.diff(area) / np.diff(edges)


def _ramps(at: Numbers, weights: Numbers, edges: Numbers) -> Numbers:
    """Sum over all points of weight * (edge - point), where the point lies before the edge."""
    order = np.argsort(at)
    at, weights = at[order] - edges[0], weights[order]
    before = np.searchsorted(at, edges - edges[0])
    total = np.concatenate([[0.0], np.cumsum(weights)])[before]
    moment = np.concatenate([[0.0], np.cumsum(weights * at)])[before]
    ramps: Numbers = total * (edges - edges[0]) - moment
    return ramps
