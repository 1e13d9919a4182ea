"""What tests on a real Slurm share; the cluster itself is tests/cluster/slurm_cluster.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpcsearch.schedulers import AllocationRequest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("slurm_cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture
def submit(tmp_path: Path, job_ids: list[str]) -> Any:
    """Submits an allocation whose driver is a shell script; gives the request and submitit's job."""
    from allocation_bed import submitting

    of_slurm = submitting(tmp_path, "slurm", "debug")

    def make(driver: str, **changes: Any) -> tuple[AllocationRequest, Any]:
        request, job = of_slurm(driver, **changes)
        job_ids.append(job.job_id)
        return request, job

    return make
