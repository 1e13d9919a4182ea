"""Beds for the scenarios, and what must hold after each of them.

A scenario runs on one machine alone unless it is marked ``beds(name, ...)`` with those on which it makes a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pbs_bed import BareBed, PbsBed, PbsMpiBed, ServiceNodeBed
from scenario_bed import Bed, LocalBed, MpiBed, end_processes_of
from slurm_bed import AlicesBed, BoundBed, KeepingBed, SlurmBed, SlurmMpiBed, UnaccountedBed

BEDS: dict[str, type[Bed]] = {
    "local": LocalBed,
    "local-mpi": MpiBed,
    "slurm": SlurmBed,
    "slurm-mpi": SlurmMpiBed,
    "slurm-alice": AlicesBed,
    "slurm-without-accounting": UnaccountedBed,
    "slurm-without-release": KeepingBed,
    "slurm-bound": BoundBed,
    "pbs": PbsBed,
    "pbs-mpi": PbsMpiBed,
    "pbs-service-node": ServiceNodeBed,
    "pbs-without-mpi": BareBed,
}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("slurm_cluster")
    config.pluginmanager.import_plugin("pbs_cluster")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bed" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("beds")
        names = marker.args if marker else ("local",)
        metafunc.parametrize("bed", [pytest.param(name, marks=_marks(BEDS[name])) for name in names], indirect=True)


def _marks(kind: type[Bed]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slurm(*kind.needs), pytest.mark.timeout(400)] if issubclass(kind, SlurmBed) else []


@pytest.fixture
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """A machine to search on; fails a scenario that leaves anything running there, and ends that."""
    kind = BEDS[request.param]
    made = kind(tmp_path, *(request.getfixturevalue(name) for name in kind.needs))
    yield made
    left = made.end_allocations()
    left += end_processes_of(made.folder)
    made.close()
    assert not left, "this was left behind:\n" + "\n".join(left)
