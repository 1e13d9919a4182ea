"""The evaluations in a table: which of them, by which column they are sorted, and their cells as text."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcsearch.evaluation import State
from hpcsearch.monitor import text
from hpcsearch.monitor.tally import FAILURES, Seen, Tally

#: What a column that every evaluation has is sorted by.
_FIXED: Mapping[str, Callable[[Seen], Any]] = {
    "id": lambda one: one.id,
    "state": lambda one: one.state.value,
    "objective": lambda one: one.objective,
    "duration": lambda one: one.duration_s,
    "node": lambda one: ",".join(one.nodes) or None,
    "started": lambda one: one.started_at,
    "ended": lambda one: one.ended_at,
    "error": lambda one: one.error or None,
}

#: An error may be long; the evaluation's own page has it whole.
_ERROR = 80
_TEXT = 24


@dataclass(frozen=True)
class Table:
    """Which evaluations are shown, and how they are sorted."""

    name: str
    choose: Callable[[Tally], Iterable[Seen]]
    column: str
    descending: bool
    leading: tuple[str, ...]  # columns before the hyperparameters
    trailing: tuple[str, ...]  # and behind the metrics

    def sorted_by(self, column: str, descending: bool) -> Table:
        return replace(self, column=column, descending=descending)


def _in(states: Collection[State]) -> Callable[[Tally], Iterable[Seen]]:
    return lambda tally: (one for one in tally.seen.values() if one.state in states)


def _ended(tally: Tally) -> Iterable[Seen]:
    return (one for one in tally.seen.values() if one.ended_at is not None and one.state is not State.RUNNING)


_PLAIN = ("id", "objective")

#: The tables there are, by the key that shows each.
TABLES: Mapping[str, Table] = {
    "1": Table("recent", _ended, "ended", True, ("id", "state", "objective"), ("duration", "node", "ended", "error")),
    "2": Table("running", lambda tally: tally.running.values(), "started", False, ("id",), ("node", "started")),
    "3": Table("best", _in({State.FINISHED}), "objective", True, _PLAIN, ("duration", "node", "ended")),
    "4": Table("failed", _in(FAILURES), "ended", True, ("id", "state", "error"), ("duration", "node", "ended")),
    "5": Table(
        "all", lambda tally: tally.seen.values(), "id", True, ("id", "state", "objective"), ("duration", "node")
    ),
}


def table(key: str, minimize: bool) -> Table:
    """The table of a key, its best objectives first."""
    found = TABLES[key]
    return found.sorted_by(found.column, not minimize) if found.column == "objective" else found


def columns(shown: Table, names: Sequence[str], tally: Tally) -> tuple[str, ...]:
    """The columns of a table: the hyperparameters and metrics stand in its middle; none twice."""
    middle = (*names, *tally.metrics)
    extra = () if shown.column in (*shown.leading, *shown.trailing, *middle) else (shown.column,)
    return tuple(dict.fromkeys((*shown.leading, *extra, *middle, *shown.trailing)))


def sortable(names: Sequence[str], tally: Tally) -> tuple[str, ...]:
    """Everything that evaluations can be sorted by."""
    return tuple(dict.fromkeys(("objective", *names, *tally.metrics, *_FIXED)))


def value(one: Seen, column: str) -> Any:
    """What an evaluation has in a column; None for nothing. A hyperparameter hides a metric of its name."""
    if column in _FIXED:
        return _FIXED[column](one)
    return one.config.get(column, one.metrics.get(column))


def top(shown: Table, tally: Tally, limit: int) -> list[Seen]:
    """The first ``limit`` evaluations of a table; what has no value in its column comes last."""
    column = shown.column
    with_value, without = [], []
    for one in list(shown.choose(tally)):
        found = value(one, column)
        if found is None:
            without.append(one)
        else:
            with_value.append((_comparable(found), one.id))
    pick = heapq.nlargest if shown.descending else heapq.nsmallest
    first = [tally.seen[identity] for _, identity in pick(limit, with_value)]
    return first + without[: limit - len(first)]


def _comparable(found: Any) -> tuple[int, Any]:
    """Numbers among numbers, before texts, before everything else as it is written."""
    if isinstance(found, int | float):
        return 0, found
    return (1, found) if isinstance(found, str) else (2, str(found))


def cells(one: Seen, names: Sequence[str], now: float) -> tuple[str, ...]:
    return tuple(cell(one, name, now) for name in names)


def cell(one: Seen, column: str, now: float) -> str:
    """A value as text, in one short line."""
    found = value(one, column)
    if found is None:
        return ""
    if column in ("started", "ended"):
        form = "%H:%M:%S" if now - found < 20 * 3600 else "%d %b %H:%M"
        return time.strftime(form, time.localtime(found))
    if column == "duration":
        return f"{text.number(found)} s"
    if isinstance(found, float):
        return text.number(found)
    line = text.printable(str(found))
    most = _ERROR if column == "error" else _TEXT
    return line if len(line) <= most else line[: most - 1] + "…"
