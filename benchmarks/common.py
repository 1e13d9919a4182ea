"""What the benchmarks share: a problem that costs nothing, a search over it, and tables."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hpcsearch
from hpcsearch.workflow import database
from hpcsearch.workflow.layout import Layout

PROBLEM = """
from hpcsearch import HpProblem
Problem = HpProblem()
Problem.add_hyperparameter((0.0, 1.0), "x")
Problem.add_starting_point(x=0.5)
"""
RUN = """
import time
def noop(config):
    return config["x"]
def nap(config):
    time.sleep(0.05)
    return -(config["x"] - 0.3) ** 2
"""


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder with problem.py and run.py, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hpcsearch-benchmark-") as name:
        folder = Path(name)
        (folder / "problem.py").write_text(PROBLEM)
        (folder / "run.py").write_text(RUN)
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def search(name: str, function: str, **options: Any) -> Layout:
    """Submits a search on site local, and waits until its allocation has ended."""
    submitted = hpcsearch.submit(name, "problem.py", f"run.py:{function}", root="workflows", **options)
    while not submitted.done():
        time.sleep(0.05)
    return submitted.layout


def rows(layout: Layout, query: str) -> Sequence[Any]:
    """The answer of the workflow's database."""
    with database.reading(layout.database) as connection:
        return connection.exec_driver_sql(query).all()


def table(title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Prints a table."""
    cells = [
        list(header),
        *([f"{cell:,.4g}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    print(f"\n{title}")
    for line in cells:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)
