"""The blocks for a cluster are run on a real Slurm and a stand-in for PBS, both in tests/cluster."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for cluster in ("slurm_cluster", "pbs_cluster"):
        config.pluginmanager.import_plugin(cluster)
