"""submitit's functions on PBS nodes: results, errors, several processes, cancelling, and the end of the walltime."""

from __future__ import annotations

import operator
import socket
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pbs_cluster import wait_for
from submitit.core.core import Job
from submitit.core.utils import UncompletedJobError

from hpcsearch.schedulers.launchers import remote_shell
from hpcsearch.schedulers.pbs_submitit import PBSExecutor, PBSJob

NODES = {"pn1", "pn2", "pn3", "pn4"}


def installed(folder: Path) -> Path:
    """A folder for Python's path with this project's entry points, as an installation of it has them."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    information = folder / "plugin-1.dist-info"
    information.mkdir()
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["submitit"].items())
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[submitit]\n{points}")
    return folder


@pytest.fixture
def executor(tmp_path: Path) -> PBSExecutor:
    made = PBSExecutor(tmp_path / "logs")
    made.update_parameters(queue="batch", time=5, setup=[f"export PYTHONPATH={installed(tmp_path)}"])
    return made


def state(job: Job[Any]) -> str:
    return job.watcher.get_state(job.job_id, mode="force")


def test_functions_run_on_the_nodes(executor: PBSExecutor) -> None:
    with executor.batch():
        jobs = [executor.submit(socket.gethostname) for _ in range(3)]
        failing = executor.submit(operator.truediv, 1, 0)
    assert {job.result() for job in jobs} <= NODES
    assert "ZeroDivisionError" in str(failing.exception())
    wait_for(lambda: {state(job) for job in [*jobs, failing]} == {"COMPLETED", "FAILED"})


def test_a_launcher_starts_a_process_on_each_node(executor: PBSExecutor) -> None:
    launcher = f"mpiexec -launcher ssh -launcher-exec {remote_shell()} -n 2 -ppn 1"
    executor.update_parameters(nodes=2, ntasks_per_node=1, place="scatter:excl", launcher=launcher)
    assert sorted(executor.submit(socket.gethostname).results()) == ["pn1", "pn2"]


def test_jobs_that_end_early_say_so(executor: PBSExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PBSJob, "_results_timeout_s", 0)
    cancelled = executor.submit(time.sleep, 60)
    executor.update_parameters(time="0:00:01")
    late = executor.submit(time.sleep, 60)
    wait_for(lambda: state(cancelled) == "RUNNING")
    cancelled.cancel()
    wait_for(lambda: state(cancelled) == "CANCELLED" and state(late) == "TIMEOUT")
    for job in (cancelled, late):
        with pytest.raises(UncompletedJobError):
            job.result()
