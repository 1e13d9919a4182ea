"""Fewer points where there are more than a page can carry: the ones that matter, and a fair draw of the rest."""

from __future__ import annotations

import numpy as np

from hpcsearch.figures.study import Indices


def thinned(points: Indices, limit: int, kept: Indices) -> Indices:
    """At most about ``limit`` of the points, in their order: all that are ``kept``, and others drawn at random.

    The draw is the same each time, so that a report written twice shows the same.
    """
    if len(points) <= limit:
        return points
    special = np.isin(points, kept)
    others = np.nonzero(~special)[0]
    room = max(0, limit - int(special.sum()))
    drawn = np.random.default_rng(0).choice(others, size=min(room, len(others)), replace=False)
    chosen: Indices = points[np.sort(np.concatenate([np.nonzero(special)[0], drawn]))]
    return chosen


def note(shown: int, total: int, kept: str) -> str:
    """What is said below a figure that does not show all points; empty where it does."""
    if shown >= total:
        return ""
    return f"{shown:,} of {total:,} evaluations are shown: {kept}, and others drawn at random."
