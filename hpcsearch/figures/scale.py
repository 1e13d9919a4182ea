"""Whether numbers belong on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence

#: So many of the first values decide: the search has not gathered at one end of the range yet.
SAMPLE = 50

#: Where the greatest is more than this times the lowest but a tenth of them. On a range from 0 it is about 10.
_WIDE = 30.0


def logarithmic(values: Sequence[float]) -> bool:
    """Whether these values, in the order in which they were proposed, spread as on a logarithmic range."""
    first = sorted(values[:SAMPLE])
    return bool(first) and first[0] > 0 and first[-1] / first[len(first) // 10] > _WIDE
