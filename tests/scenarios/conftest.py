"""Beds for the scenarios, and what must hold after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scenario_bed import Bed, LocalBed, end_processes_of

#: Every scenario runs on each of these.
BEDS: dict[str, type[Bed]] = {"local": LocalBed}


@pytest.fixture(params=BEDS)
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """A machine to search on."""
    made = BEDS[request.param](tmp_path)
    yield made
    made.settle()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fails a scenario that leaves a process behind, and ends that process."""
    yield
    left = end_processes_of(tmp_path)
    assert not left, "processes were left behind:\n" + "\n".join(left)
