"""Which of the values that evaluations report decides, and whether more of it is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hpcsearch.errors import UsageError

#: What decides where nothing else is named and there is more than one.
OBJECTIVE = "objective"

_FORM = "Type --stopper-metric NAME, NAME:min or NAME:max, with a name that the run function reports."


@dataclass(frozen=True)
class Metric:
    """The metric by which evaluations are judged.

    Attributes:
        name: empty for the only one that is reported, or ``objective`` among several.
        direction: ``min``, ``max``, or empty for that of the problem's objective.
    """

    name: str = ""
    direction: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Reads ``NAME`` or ``NAME:min`` or ``NAME:max``; nothing for the usual one.

        Raises:
            UsageError: the text has none of these forms.
        """
        if not text:
            return cls()
        name, colon, direction = text.partition(":")
        if not name.isidentifier() or (colon and direction not in ("min", "max")):
            raise UsageError(f"{text!r} is no metric to stop by.", _FORM)
        return cls(name, direction)

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Its value in a report; None where it has none, or no number."""
        if self.name or len(metrics) != 1:
            found = metrics.get(self.name or OBJECTIVE)
        else:
            (found,) = metrics.values()
        return None if isinstance(found, bool) or not isinstance(found, int | float) else float(found)

    def sign(self, minimize: bool) -> float:
        """What turns its values into such of which greater is better, for a problem of this sense."""
        return -1.0 if (minimize if not self.direction else self.direction == "min") else 1.0

    def estimates_objective(self, minimize: bool) -> bool:
        """Whether its last value can stand for the objective: it goes in the same direction."""
        return self.sign(minimize) == Metric().sign(minimize)


def judged(value: float, sign: float) -> float:
    """A value as a rule is told it: greater is better, and what is no number is the worst."""
    return -math.inf if math.isnan(value) else sign * value
