"""What tests on the stand-in for PBS share; the cluster itself is tests/cluster/pbs_cluster.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("pbs_cluster")


@pytest.fixture(autouse=True)
def clients(pbs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients are found first, and nothing is remembered from other tests."""
    monkeypatch.setenv("PATH", f"{pbs.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def submit(tmp_path: Path) -> Any:
    """Submits an allocation whose driver is a shell script; gives the request and submitit's job."""
    from allocation_bed import submitting

    return submitting(tmp_path, "pbs", "batch")
