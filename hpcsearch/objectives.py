"""Several objectives of one evaluation: their names and senses, and where they are kept.

A run function names them, ``{"objective": {"accuracy": 0.9, "seconds:min": 12.0}}``, where ``:min`` or ``:max`` gives
one another sense than the problem's. Their values are kept in the evaluation's metadata, under the names without a
sense; the first one is its objective, too.

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: In the metadata of an evaluation with several objectives: their names as the run function gave them, in its order.
OBJECTIVES = "objectives"

#: A sense as it is typed -> what turns values into such of which greater is better.
SENSES = {"min": -1.0, "max": 1.0}

#: What an evaluation came to: a number, or several by the names that the run function gave; None without any.
Told = float | Mapping[str, float] | None


def split(name: str) -> tuple[str, float | None]:
    """A name without its sense, and the sense as a sign; None where it carries none."""
    plain, _, sense = name.rpartition(":")
    return (plain, SENSES[sense]) if plain and sense in SENSES else (name, None)


def told(objective: float | None, metadata: Mapping[str, Any] | None) -> Told:
    """What a search is told of an evaluation: all its objectives where it has several."""
    return several(objective, metadata or {}) or objective


def several(objective: float | None, metadata: Mapping[str, Any]) -> dict[str, float]:
    """An evaluation's objectives by the names that the run function gave; empty where it has not several."""
    names = metadata.get(OBJECTIVES)
    if objective is None or not isinstance(names, list) or len(names) < 2:
        return {}
    values = {str(name): metadata.get(split(str(name))[0]) for name in names}
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}
    # A run function may return something of its own under the same name.
    return numbers if len(numbers) == len(names) and next(iter(numbers.values())) == objective else {}
