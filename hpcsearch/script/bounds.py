"""Bounds for optimisers as they are typed: ``min:max[:array length][:flags]``, as in ``lr=1e-5:0.1:l``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpcsearch.errors import UsageError
from hpcsearch.script.ranges import split_name

FORMS = (
    "Write NAME=MIN:MAX, NAME=MIN:MAX:FLAGS or, for an array, NAME=MIN:MAX:LENGTH:FLAGS. Flags: u (not bound to "
    "MIN:MAX), r (begins anywhere, not in the middle), l (logarithmic), a (an array of LENGTH numbers)."
)

_FLAGS = "urla"
_LONGEST_ARRAY = 10_000

#: A logarithmic scale that is to begin at 0 begins at this share of its end.
LOG_FLOOR = 1e-6


@dataclass(frozen=True)
class Bounds:
    """One hyperparameter of an optimiser: a number, or an array of ``length`` numbers, from ``low`` to ``high``.

    ``unbounded``: the optimiser may leave the bounds. ``random``: it begins anywhere between them, and not in the
    middle. ``floored``: a logarithmic scale was to begin at 0 or below, and begins just above.
    """

    name: str
    low: float
    high: float
    length: int | None = None
    unbounded: bool = False
    random: bool = False
    log: bool = False
    floored: bool = False

    @property
    def middle(self) -> float:
        """The middle, on its own scale."""
        return math.sqrt(self.low) * math.sqrt(self.high) if self.log else (self.low + self.high) / 2


def parse_bounds(text: str) -> Bounds:
    """Reads ``NAME=MIN:MAX[:LENGTH][:FLAGS]``.

    Raises:
        UsageError: it has another form.
    """
    name, spec = split_name(text)
    fields = [field.strip() for field in spec.split(":")]
    flags = fields[-1] if len(fields) > 2 else ""
    wrong = next((flag for flag in flags if flag not in _FLAGS or flags.count(flag) > 1), None)
    if wrong is not None:
        what = " twice" if wrong in _FLAGS else ", which is none"
        raise _error(text, f"have the flag {wrong!r}{what}")
    if len(fields) != (4 if "a" in flags else 3) and len(fields) != 2:
        need = "an array needs MIN:MAX:LENGTH:FLAGS" if "a" in flags else "a length needs the flag a"
        raise _error(text, f"have {len(fields)} field{'' if len(fields) == 1 else 's'}: {need}")
    low, high = _number(text, fields[0]), _number(text, fields[1])
    if low > high:
        raise UsageError(f"The bounds {text!r} have a MIN above their MAX.", f"Write {name}={high:g}:{low:g}.")
    floored = "l" in flags and low <= 0
    if floored:
        if high <= 0:
            raise _error(text, f"are logarithmic and end at {high:g}, which is not above 0")
        low = high * LOG_FLOOR
    length = _length(text, fields[2]) if "a" in flags else None
    return Bounds(name, low, high, length, "u" in flags, "r" in flags, "l" in flags, floored)


def _number(text: str, field: str) -> float:
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _error(text, f"have {field!r} where a number is needed")
    return number


def _length(text: str, field: str) -> int:
    if not field.isdecimal() or not 1 <= int(field) <= _LONGEST_ARRAY:
        raise _error(text, f"have the array length {field!r}, and not 1 to {_LONGEST_ARRAY:,}")
    return int(field)


def _error(text: str, what: str) -> UsageError:
    return UsageError(f"The bounds {text!r} {what}.", FORMS)
