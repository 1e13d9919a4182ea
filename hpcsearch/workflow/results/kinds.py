"""What the values of a column have in common, which decides the type that it is written with."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

_WHOLE = range(-(2**63), 2**63)


class Kind(enum.StrEnum):
    """A kind of values; None may be among them everywhere."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    MIXED = "mixed"


_KINDS = {
    frozenset({int}): Kind.INTEGER,
    frozenset({bool}): Kind.BOOLEAN,
    frozenset({str}): Kind.TEXT,
    frozenset({float}): Kind.NUMBER,
    frozenset({int, float}): Kind.NUMBER,
    frozenset[type](): Kind.NUMBER,
}

#: Of the columns of results.csv, those whose kind does not show where they hold nothing.
_TEXTS = frozenset({"state", "node"})
#: And those that are points in time.
TIMES = frozenset({"start", "end"})


def kind_of(values: Sequence[Any]) -> Kind:
    """The narrowest kind that all the values are of; MIXED with whole numbers that 64 bits do not hold."""
    types = frozenset(map(type, values))
    if int in types and any(type(value) is int and value not in _WHOLE for value in values):
        return Kind.MIXED
    return _KINDS.get(types - {type(None)}, Kind.MIXED)


def kind_of_result(name: str, values: Sequence[Any]) -> Kind:
    """The kind of a column of results.csv."""
    return Kind.TEXT if name in _TEXTS else kind_of(values)
