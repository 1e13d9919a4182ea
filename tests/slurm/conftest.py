"""A real Slurm for the tests in this folder, which carry the marker ``slurm``.

As root on Debian it is brought up by tests/cluster/slurm-up.sh, with its packages, and stopped at the end unless it was
up before. Elsewhere the tests are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import schedulers
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.sites.render import render_job_script

SCRIPTS = Path(__file__).parents[1] / "cluster"
RUN = Path(os.environ.get("SLURM_TEST_RUN", "/var/lib/slurm-test"))

#: Fixture -> the arguments of slurm-up.sh for it, in the order in which the cluster takes these shapes.
SHAPES = {
    "slurm": ("-n", "4", "-c", "4", "--acct"),
    "slurm_without_accounting": ("-n", "4", "-c", "4"),
    "slurm_without_release": ("-n", "4", "-c", "4", "--no-shrink"),
    "bound_slurm": ("-n", "4", "-c", "2", "--acct", "--affinity"),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slurm: needs a real Slurm, which root on Debian gets by itself")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.slurm)
    others = [item for item in items if item not in here]
    here.sort(key=_shape_number)
    for item in here[:1]:
        # It waits for packages on a fresh machine
        item.add_marker(pytest.mark.timeout(900))
    items[:] = [*others, *here]


def _shape_number(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return max((number for number, name in enumerate(SHAPES) if name in names), default=0)


@dataclass(frozen=True)
class Cluster:
    """A running cluster whose nodes are sn1, sn2, ..."""

    nodes: int
    cpus: int

    def crash(self, number: int) -> None:
        """Kills a node's daemon and all that runs in it."""
        _script("slurm-node.sh", "crash", str(number))

    def start(self, number: int) -> None:
        """Brings a node back and waits until Slurm uses it."""
        _script("slurm-node.sh", "start", str(number))
        wait_for(lambda: output("sinfo", "-h", "-N", "-n", f"sn{number}", "-p", "batch", "-o", "%T").startswith("idle"))


class Keeper:
    """Brings up the shape that a test asks for, and at the end leaves what there was before."""

    def __init__(self) -> None:
        self._before = _shape()
        self._up: tuple[str, ...] = ()

    def bring_up(self, arguments: tuple[str, ...]) -> Cluster:
        if self._up != arguments:
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                pytest.skip("a real Slurm is installed and started only as root on Debian")
            _script("slurm-up.sh", *arguments)
            self._up = arguments
        return Cluster(int(arguments[1]), int(arguments[3]))

    def leave(self) -> None:
        if not self._up:
            return
        if not self._before:
            _script("slurm-down.sh")
        elif self._before != _shape():
            _script("slurm-up.sh", *_arguments(self._before))


def _shape() -> str:
    file = RUN / "shape"
    return file.read_text() if file.exists() else ""


def _arguments(shape: str) -> list[str]:
    """The arguments of slurm-up.sh that give a shape."""
    nodes, cpus, memory_mb, accounting, mode, binding, *shrink = shape.split()
    flags = {"--acct": accounting == "1", "--ports": mode == "ports", "--affinity": binding == "affinity"}
    flags["--no-shrink"] = bool(shrink)
    return ["-n", nodes, "-c", cpus, "-m", memory_mb, *(flag for flag, given in flags.items() if given)]


def _script(name: str, *arguments: str) -> None:
    done = subprocess.run([SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=850, check=False)
    if done.returncode:
        pytest.fail(f"{name} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    made.leave()


@pytest.fixture
def slurm(keeper: Keeper, own_cache: None) -> Cluster:
    """Four nodes with four CPUs each, with accounting; steps are not bound to cores."""
    return keeper.bring_up(SHAPES["slurm"])


@pytest.fixture
def slurm_without_accounting(keeper: Keeper, own_cache: None) -> Cluster:
    """The same without slurmdbd: no sacct, any account, one resize for each job."""
    return keeper.bring_up(SHAPES["slurm_without_accounting"])


@pytest.fixture
def slurm_without_release(keeper: Keeper, own_cache: None) -> Cluster:
    """The same with disable_job_shrink."""
    return keeper.bring_up(SHAPES["slurm_without_release"])


@pytest.fixture
def bound_slurm(keeper: Keeper, own_cache: None) -> Cluster:
    """Four nodes with two CPUs each, whose steps get the cores that Slurm gives them and no others."""
    return keeper.bring_up(SHAPES["bound_slurm"])


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of scheduler queries for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def wait_for(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits until a condition holds; a test fails when it does not within a minute."""
    return wait_for


@pytest.fixture
def job_ids() -> Iterator[list[str]]:
    """The jobs of a test, to be added by it; at its end they are cancelled and awaited."""
    ids: list[str] = []
    yield ids
    if ids:
        subprocess.run(["scancel", *ids], check=False)
        wait_for(lambda: not set(output("squeue", "-h", "-o", "%i").split()) & set(ids))


@pytest.fixture
def sbatch_as_alice(job_ids: list[str]) -> Callable[..., str]:
    """Submits a shell command as another, ordinary user; gives the job's id."""

    def sbatch(command: str, *options: str) -> str:
        argv = ["sbatch", "--parsable", "-o", "/dev/null", *options, "--wrap", command]
        done = subprocess.run(
            ["runuser", "-u", "alice", "--", *argv], capture_output=True, text=True, check=True, cwd="/"
        )
        job_ids.append(done.stdout.strip())
        return job_ids[-1]

    return sbatch


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
