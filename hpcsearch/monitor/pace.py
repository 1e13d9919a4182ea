"""How fast evaluations end, and when the budget will be spent: a range, or nothing where nothing is known."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: What "now" means for a rate (seconds): at least so long, and longer where it holds fewer ends than this.
_WINDOW_S, _ENDS = 300.0, 10
#: Fewer ends than this tell nothing about the others.
ENOUGH = 5


@dataclass(frozen=True)
class Range:
    """Seconds from now."""

    low_s: float
    high_s: float


def per_minute(ends: Sequence[float], now: float, began_at: float) -> float | None:
    """How many evaluations ended in a minute, lately; ``ends`` are sorted. None before ``began_at`` is long past.

    What ended before ``began_at``, in an earlier allocation, does not count: nothing ran in between.
    """
    since = max(began_at, now - _WINDOW_S)
    count = len(ends) - bisect.bisect_right(ends, since)
    if count < _ENDS:
        first = max(bisect.bisect_right(ends, began_at), len(ends) - _ENDS)
        since = min(since, ends[first] if first < len(ends) else since)
        since = max(since, began_at)
        count = len(ends) - first
    return None if now - since < 1.0 else 60.0 * count / (now - since)


def until_spent(left: int, ends: Sequence[float], now: float, began_at: float) -> Range | None:
    """How long ``left`` evaluations take at the pace of those since ``began_at``; None when these are too few.

    The range spans the pace of all of them and of their latter half (a search may come to slower configurations, or
    lose nodes), each with twice the scatter that counts of so many ends, and of so many that are left, have.
    """
    first = bisect.bisect_right(ends, began_at)
    count = len(ends) - first
    if count < ENOUGH or now <= began_at:
        return None
    half = max(1, count // 2)
    rates = [count / (now - began_at), half / max(1e-3, now - ends[-half - 1])]
    scatter = math.exp(2 * math.sqrt(1 / half + 1 / max(1, left)))
    return Range(left / (max(rates) * scatter), left * scatter / min(rates))
