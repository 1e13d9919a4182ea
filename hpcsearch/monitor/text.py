"""Numbers, times and tables as text for people, and where they are printed."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


def clock(at: float) -> str:
    """The time of day in the user's zone."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


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


@dataclass(frozen=True)
class Style:
    """What a table has to fit, and whether its header is bold."""

    width: int = _UNBOUNDED
    bold: bool = False


def style_of_output() -> Style:
    """On a terminal as wide as that is, and bold unless NO_COLOR is set."""
    terminal = sys.stdout.isatty()
    return Style(Console().width, not os.environ.get("NO_COLOR")) if terminal else Style()


def print_table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Prints ``table_lines``."""
    for line in table_lines(header, rows, style_of_output()):
        print(line)


def table_lines(header: Sequence[str] | None, rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    """A table without rules; columns that are empty throughout are left out.

    Only the last column is broken where the table would be too wide; where the others do not fit, each row becomes a
    table of its own, a value a line.
    """
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows)]
    names = [header[index] if header else "" for index in kept]
    cells = [[row[index] for index in kept] for row in rows]
    *others, last = (max(map(cell_len, column)) for column in zip(names, *cells, strict=True))
    if not header or sum(others) + _GAP * len(others) + min(last, _LAST) <= style.width:
        return _draw(names if header else None, cells, style)
    lines: list[str] = []
    for number, row in enumerate(cells):
        pairs = [pair for pair in zip(names, row, strict=True) if pair[1]]
        lines += [""] * (number > 0) + _draw(None, pairs, style)
    return lines


def _draw(header: Sequence[str] | None, rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    console = Console(width=style.width, highlight=False, markup=False, emoji=False)
    drawn = Table(box=None, pad_edge=False, header_style="bold" if style.bold else "", show_header=header is not None)
    last = len(rows[0]) - 1
    for index in range(last + 1):
        drawn.add_column(header[index] if header else "", overflow="fold", no_wrap=index < last)
    for row in rows:
        drawn.add_row(*row)
    with console.capture() as capture:
        console.print(drawn)
    return [line.rstrip() for line in capture.get().splitlines()]


def print_csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> None:
    """Prints rows, under a header; what a row does not have is empty."""
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)


def print_json(value: Any) -> None:
    """JSON as programs read it: no width, no colour."""
    print(json.dumps(value, indent=1))
