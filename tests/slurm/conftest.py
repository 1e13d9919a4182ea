"""What tests on a real Slurm share; the cluster itself is tests/cluster/slurm_cluster.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import schedulers
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.sites.render import render_job_script

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("slurm_cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


Submit = Callable[..., tuple[AllocationRequest, Any]]


@pytest.fixture
def submit(tmp_path: Path, job_ids: list[str]) -> Submit:
    """Submits an allocation whose driver is a shell script; gives the request and submitit's job."""

    def make(driver: str, **changes: Any) -> tuple[AllocationRequest, Any]:
        number = len(list(tmp_path.glob("allocations/*"))) + 1
        python = tmp_path / f"python{number}"
        python.write_text(f"#!/bin/bash\n{driver}\n")
        python.chmod(0o755)
        site: Site = changes.pop("site", None) or find_site("slurm")
        values: dict[str, Any] = {
            "workflow": "poly",
            "directory": tmp_path,
            "number": number,
            "folder": tmp_path / f"allocations/{number}",
            "site": site,
            "queue": "debug",
            "account": "lab",
            "nodes": 1,
            "walltime_s": 600,
            "job_mode": "serial",
            "python": str(python),
            "cwd": tmp_path,
            "job_name": "poly",
        }
        request = AllocationRequest(**{**values, **changes})
        job = schedulers.submit(request, render_job_script(request))
        job_ids.append(job.job_id)
        return request, job

    return make
