"""What tests on the stand-in for PBS share; the cluster itself is tests/cluster/pbs_cluster.py."""

from __future__ import annotations

import os
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
    config.pluginmanager.import_plugin("pbs_cluster")


@pytest.fixture(autouse=True)
def clients(pbs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients are found first, and nothing is remembered from other tests."""
    monkeypatch.setenv("PATH", f"{pbs.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def submit(tmp_path: Path) -> Callable[..., tuple[AllocationRequest, Any]]:
    """Submits an allocation whose driver is a shell script; gives the request and submitit's job."""

    def make(driver: str, **changes: Any) -> tuple[AllocationRequest, Any]:
        number = len(list(tmp_path.glob("allocations/*"))) + 1
        python = tmp_path / f"python{number}"
        python.write_text(f"#!/bin/bash\n{driver}\n")
        python.chmod(0o755)
        site: Site = changes.pop("site", None) or find_site("pbs")
        values: dict[str, Any] = {
            "workflow": "poly",
            "directory": tmp_path,
            "number": number,
            "folder": tmp_path / f"allocations/{number}",
            "site": site,
            "queue": "batch",
            "account": "lab",
            "nodes": 1,
            "walltime_s": 600,
            "job_mode": "serial",
            "python": str(python),
            "cwd": tmp_path,
            "job_name": "poly",
        }
        request = AllocationRequest(**{**values, **changes})
        return request, schedulers.submit(request, render_job_script(request))

    return make
