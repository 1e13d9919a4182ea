"""``status --watch``: the same again and again, for people in its place on the terminal, for programs line by line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcsearch.monitor import listing, text
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.monitor.view import COLUMNS, columns, status_lines, status_values
from hpcsearch.monitor.watch import Ears
from hpcsearch.workflow.layout import Layout

#: Puts the cursor at the beginning of an empty screen; what stood there before stays above.
_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class Seen:
    """What was seen at one look: lines for people, values for programs, and whether nothing more will come."""

    lines: Sequence[str]
    values: Any  # for JSON
    rows: Sequence[dict[str, Any]]  # for CSV, by ``COLUMNS``
    over: bool


def one_workflow(layout: Layout, each_node: bool) -> Callable[[], Seen]:
    """Looks at one workflow, and is over when no allocation works on it any more."""
    ears = Ears(layout)

    def look() -> Seen:
        snapshot = take_snapshot(layout, ears.heard(), with_nodes=True)
        lines = list(status_lines(snapshot, text.style_of_output(), each_node))
        return Seen(lines, status_values(snapshot), [columns(snapshot)], not snapshot.live)

    return look


def all_workflows(root: str | None) -> Callable[[], Seen]:
    """Looks at all workflows under ``root``, and is never over."""

    def look() -> Seen:
        found = listing.read_all(root)
        values = listing.values(found)
        return Seen(listing.lines(found, root, text.style_of_output()), values, values, over=False)

    return look


def watch(look: Callable[[], Seen], form: str, interval_s: float) -> None:
    """Shows what is seen, every so many seconds, until it is over; ``form`` is table, json or csv."""
    show = _SHOWS[form]()
    while True:
        seen = look()
        show(seen)
        sys.stdout.flush()
        if seen.over:
            return
        time.sleep(interval_s)


class _Pages:
    """A page in the place of the one before, if it is another; one below the other where there is no terminal."""

    def __init__(self) -> None:
        self._shown: Sequence[str] | None = None

    def __call__(self, seen: Seen) -> None:
        if seen.lines == self._shown:
            return
        if sys.stdout.isatty():
            print(end=_CLEAR)
        elif self._shown is not None:
            print()
        print("\n".join(seen.lines))
        self._shown = seen.lines


class _JsonLines:
    def __call__(self, seen: Seen) -> None:
        print(json.dumps({"seen": text.iso_time(time.time()), "status": seen.values}))


class _CsvLines:
    def __init__(self) -> None:
        self._header = True

    def __call__(self, seen: Seen) -> None:
        now = text.iso_time(time.time())
        text.print_csv(("seen", *COLUMNS), [{"seen": now, **row} for row in seen.rows], header=self._header)
        self._header = False


_SHOWS: Mapping[str, Callable[[], Callable[[Seen], None]]] = {"table": _Pages, "json": _JsonLines, "csv": _CsvLines}
