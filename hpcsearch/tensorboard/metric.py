"""Which scalar is the objective, and which of its values: ``--metric val_loss:min``.

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hpcsearch.errors import UsageError

Accumulation = Callable[[list[float]], float]

#: How the values of a scalar become one number.
ACCUMULATIONS: Mapping[str, Accumulation] = {"last": lambda values: values[-1], "min": min, "max": max}

#: What an accumulation says of the objective's sense: whether less is better.
_MINIMIZE = {"min": True, "max": False}


@dataclass(frozen=True)
class Metric:
    """A scalar by its name, and how its values become the objective: ``last``, ``min`` or ``max``."""

    name: str
    accumulation: str = "last"

    @classmethod
    def parse(cls, text: str) -> Metric:
        """``name``, ``name:min`` or ``name:max``; a name may have colons itself.

        Raises:
            UsageError: there is no name, or an accumulation that is none.
        """
        name, colon, last = text.rpartition(":")
        if not colon:
            name, last = text, ""
        elif last not in _MINIMIZE:
            if last.isalpha() and last.lower() in {*_MINIMIZE, "last", "mean", "sum"}:
                raise UsageError(
                    f"The metric {text!r} ends in {last!r}, which is neither min nor max.",
                    f"Write {name}:min or {name}:max; {name} alone takes the last value.",
                )
            name, last = text, ""
        if not name.strip():
            raise UsageError(f"The metric {text!r} has no name.", "Write --metric val_loss:min, for instance.")
        return cls(name, last or "last")

    @property
    def minimize(self) -> bool | None:
        """Whether less is better; None where the problem's own sense holds."""
        return _MINIMIZE.get(self.accumulation)

    def of(self, values: Iterable[float]) -> float | None:
        """The objective in these values, in their order; None where there is none. NaN is passed over by min and max.

        The last value counts as it is, so that a training that diverged in the end is told.
        """
        kept = [value for value in values if self.accumulation == "last" or not math.isnan(value)]
        return ACCUMULATIONS[self.accumulation](kept) if kept else None

    def __str__(self) -> str:
        return self.name if self.accumulation == "last" else f"{self.name}:{self.accumulation}"
