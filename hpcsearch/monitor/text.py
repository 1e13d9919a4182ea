"""Numbers, times and tables as text for people, and where they are printed."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

#: Wide enough for any line: what is not a terminal gets whole lines, one a row.
_UNBOUNDED = 10_000


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

    On a terminal it fits the width and its header is bold (not with NO_COLOR); elsewhere a row is a line.
    """
    terminal = sys.stdout.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    drawn = Table(box=None, pad_edge=False, header_style="" if plain else "bold", show_header=header is not None)
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows)]
    for index in kept:
        drawn.add_column(header[index] if header else "", overflow="fold")
    for row in rows:
        drawn.add_row(*(row[index] for index in kept))
    console = Console(width=None if terminal else _UNBOUNDED, highlight=False, markup=False, emoji=False)
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
