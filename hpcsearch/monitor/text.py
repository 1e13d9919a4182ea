"""Numbers, times and tables as text for people, and where they are printed."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

#: Wide enough for any line: what is not a terminal gets whole lines, one a row.
_UNBOUNDED = 10_000

#: Between two columns, and what the last one needs where it is broken (characters).
_GAP, _LAST = 2, 20


def local_time(at: float | None) -> str:
    """A point in time in the user's zone; empty for None."""
    return "" if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(at: float | None) -> str | None:
    """A point in time in the user's zone, with the zone, for programs."""
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")


def number(value: float | None) -> str:
    """An objective or a duration, to six digits."""
    return "" if value is None else f"{value:.6g}"


def configuration(values: Mapping[str, Any]) -> str:
    """A configuration in one line, by name."""
    return ", ".join(
        f"{name}={number(values[name]) if isinstance(values[name], float) else values[name]}" for name in sorted(values)
    )


def exact(value: Any) -> str:
    """A value with all its digits, in one line."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def printable(line: str) -> str:
    """A line in which what would move a terminal's cursor or change its colours is spelt out, but for tabs."""
    return "".join(each if each.isprintable() or each == "\t" else repr(each)[1:-1] for each in line)


def print_table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Prints a table without lines; columns that are empty throughout are left out.

    On a terminal its header is bold (not with NO_COLOR) and only the last column is broken; where the others do not fit
    the width, each row becomes a table of its own, a value a line. Elsewhere a row is a line.
    """
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _UNBOUNDED, highlight=False, markup=False, emoji=False)
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows)]
    names = [header[index] if header else "" for index in kept]
    cells = [[row[index] for index in kept] for row in rows]
    *others, last = (max(map(cell_len, column)) for column in zip(names, *cells, strict=True))
    if header and sum(others) + _GAP * len(others) + min(last, _LAST) > console.width:
        for number, row in enumerate(cells):
            print("\n" * (number > 0), end="")
            _draw(console, None, [pair for pair in zip(names, row, strict=True) if pair[1]])
    else:
        _draw(console, names if header else None, cells)


def _draw(console: Console, header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    drawn = Table(box=None, pad_edge=False, header_style="" if plain else "bold", show_header=header is not None)
    last = len(rows[0]) - 1
    for index in range(last + 1):
        drawn.add_column(header[index] if header else "", overflow="fold", no_wrap=index < last)
    for row in rows:
        drawn.add_row(*row)
    with console.capture() as capture:
        console.print(drawn)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def print_csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints rows under a header; what a row does not have is empty."""
    writer = csv.DictWriter(sys.stdout, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_json(value: Any) -> None:
    """JSON as programs read it: no width, no colour."""
    print(json.dumps(value, indent=1))
