"""Ranges of values as they are typed: ``lr=1e-5:l5:0.1``, ``layers=0:3``, ``act=relu,tanh``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcsearch.errors import UsageError

Value = bool | int | float | str

#: More values than this in one range are a slip.
MOST_VALUES = 100_000

#: Steps are added up in binary; so many digits are what was meant.
_DIGITS = ".12g"

FORMS = (
    "Write NAME=0.1 (one value), NAME=2,5,6 (these), NAME=0:3 (steps of 1), NAME=0.01:0.01:0.1 (steps of 0.01), "
    "NAME=0:u10:1 (10 values, evenly) or NAME=1e-5:l5:0.1 (5 values, each the same multiple of the one before)."
)

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_COUNT = re.compile(r"(?:(?P<before>[ul])(?P<first>\d+))|(?:(?P<second>\d+)(?P<after>[ul]))")


@dataclass(frozen=True)
class Range:
    """The values of one hyperparameter, in their order; ``log`` where they lie on a logarithmic scale.

    ``listed`` are values that have nothing between them.
    """

    name: str
    values: tuple[Value, ...]
    log: bool = False
    listed: bool = False


def parse_range(text: str) -> Range:
    """Reads ``NAME=...``. Whole numbers stay whole; an end is included where a step leads to it.

    Raises:
        UsageError: it has none of the forms, or no values.
    """
    name, spec = split_name(text)
    if "," in spec:
        values = tuple(_value(part.strip()) for part in spec.split(","))
        if "" in values:
            raise _error(text, "has an empty value between its commas")
        if len(set(map(str, values))) < len(values):
            raise _error(text, "has a value twice")
        return Range(name, _alike(values), listed=True)
    if ":" not in spec:
        return Range(name, (_value(spec),), listed=True)
    fields = spec.split(":")
    if len(fields) > 3:
        raise _error(text, f"has {len(fields)} fields between colons, and not 2 or 3")
    start, end = _number(text, fields[0] or "0"), _number(text, fields[-1])
    count = _COUNT.fullmatch(fields[1]) if len(fields) == 3 else None
    if count is None:
        return Range(name, _stepped(text, start, _number(text, fields[1]) if len(fields) == 3 else 1, end))
    log = "l" in (count["before"], count["after"])
    number = int(count["first"] or count["second"])
    return Range(name, _logarithmic(text, start, number, end) if log else _even(text, start, number, end), log)


def split_name(text: str) -> tuple[str, str]:
    """The name and what is behind its ``=``; raises UsageError where either is missing."""
    name, equals, spec = text.partition("=")
    if not equals or not spec.strip():
        raise UsageError(f"The hyperparameter {text!r} has no values.", FORMS)
    if not _NAME.fullmatch(name.strip()):
        raise UsageError(f"{name!r} in {text!r} is no name.", "A name has letters, digits, _, - and dots.")
    return name.strip(), spec.strip()


def _stepped(text: str, start: float, step: float, end: float) -> tuple[Value, ...]:
    if step == 0:
        raise _error(text, "has a step of 0")
    if step == int(step) and step > abs(end - start):  # then it is a number of values, as in 1e-5:10:0.1
        return _even(text, start, int(step), end)
    if (end - start) * step < 0:
        way = f"write {start:g}:{-step:g}:{end:g} to count the other way"
        raise _error(text, f"has no values: steps of {step:g} from {start:g} do not lead to {end:g}; {way}")
    steps = math.floor((end - start) / step + 1e-9)
    _check_number(text, steps + 1)
    return _typed([start + index * step for index in range(steps + 1)], start, step, end)


def _even(text: str, start: float, number: int, end: float) -> tuple[Value, ...]:
    _check_number(text, number)
    if number == 1 or start == end:
        raise _error(text, f"asks for {number} value{'' if number == 1 else 's'} from {start:g} to {end:g}")
    return _typed([start + (end - start) * index / (number - 1) for index in range(number)], start, end)


def _logarithmic(text: str, start: float, number: int, end: float) -> tuple[Value, ...]:
    _check_number(text, number)
    if start <= 0 or end <= 0:
        raise _error(text, f"is logarithmic and has an end that is not above 0: {min(start, end):g}")
    if number == 1 or start == end:
        raise _error(text, f"asks for {number} value{'' if number == 1 else 's'} from {start:g} to {end:g}")
    low, high = math.log(start), math.log(end)
    inner = [math.exp(low + (high - low) * index / (number - 1)) for index in range(1, number - 1)]
    return _typed([start, *inner, end], start, end)


def _check_number(text: str, number: int) -> None:
    if not 1 <= number <= MOST_VALUES:
        raise _error(text, f"has {number:,} values, and not 1 to {MOST_VALUES:,}")


def _typed(values: Sequence[float], *typed: float) -> tuple[Value, ...]:
    """Whole numbers where all that was typed is whole and all values are; no more digits than were meant."""
    clean = [float(f"{value:{_DIGITS}}") for value in values]
    if all(isinstance(one, int) for one in typed) and all(value.is_integer() for value in clean):
        return tuple(int(value) for value in clean)
    return tuple(clean)


def _alike(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """All numbers of one type where they are numbers, and all text where one is: as in ``relu,1``."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return values
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return tuple(float(value) for value in values)
    return values if all(isinstance(value, bool) for value in values) else tuple(str(value) for value in values)


def _value(text: str) -> Value:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def _number(text: str, field: str) -> float:
    value = _value(field.strip())
    if isinstance(value, str | bool):
        raise _error(text, f"has {field!r} where a number is needed" if field else "has an empty field")
    return value


def _error(text: str, what: str) -> UsageError:
    return UsageError(f"The range {text!r} {what}.", FORMS)
