"""A real Slurm for tests: a plugin that the folders load whose tests need it.

As root on Debian it is brought up by slurm-up.sh, with its packages, and stopped at the end unless it was up before.
Elsewhere the tests are skipped with the reason. Tests that need it carry the marker ``slurm``, and come last, so that
the cluster changes its shape as seldom as can be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent
RUN = Path(os.environ.get("SLURM_TEST_RUN", "/var/lib/slurm-test"))

#: Fixture -> the arguments of slurm-up.sh for it, in the order in which the cluster takes these shapes.
SHAPES = {
    "slurm": ("-n", "4", "-c", "4", "--acct"),
    "slurm_without_accounting": ("-n", "4", "-c", "4"),
    "slurm_without_release": ("-n", "4", "-c", "4", "--no-shrink"),
    "bound_slurm": ("-n", "4", "-c", "2", "--acct", "--affinity"),
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("slurm")]
    others = [item for item in items if not item.get_closest_marker("slurm")]
    needing.sort(key=_shape_number)
    for item in needing[:1]:
        # It waits for packages on a fresh machine
        item.add_marker(pytest.mark.timeout(900), append=False)
    items[:] = [*others, *needing]


def _shape_number(item: pytest.Item) -> int:
    marker = item.get_closest_marker("slurm")
    names = [*getattr(item, "fixturenames", ()), *(marker.args if marker else ())]
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
        wait_for(lambda: node_state(number).startswith("idle"))


def node_state(number: int) -> str:
    """What Slurm says of a node, in lower case, such as ``idle`` or ``down*``."""
    return output("sinfo", "-h", "-N", "-n", f"sn{number}", "-p", "batch", "-o", "%T").strip()


class Keeper:
    """Brings up the shape that a test asks for, and at the end leaves what there was before."""

    def __init__(self) -> None:
        self._before = _shape()
        self._up: tuple[str, ...] = ()

    def bring_up(self, shape: str) -> Cluster:
        """The cluster of a shape of ``SHAPES``."""
        arguments = SHAPES[shape]
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
    # Daemons keep the environment of who starts them: a test's own folders must not be in it.
    environment = {variable: value for variable, value in os.environ.items() if not variable.startswith("XDG_")}
    done = subprocess.run(
        [SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=850, check=False, env=environment
    )
    if done.returncode:
        pytest.fail(f"{name} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def listed(ids: set[str]) -> set[str]:
    """Those of some jobs that wait, run or are being ended."""
    return set(output("squeue", "-h", "-o", "%i").split()) & ids


def wait_for(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    made.leave()


@pytest.fixture
def slurm(keeper: Keeper, own_cache: None) -> Cluster:
    """Four nodes with four CPUs each, with accounting; steps are not bound to cores."""
    return keeper.bring_up("slurm")


@pytest.fixture
def slurm_without_accounting(keeper: Keeper, own_cache: None) -> Cluster:
    """The same without slurmdbd: no sacct, any account, one resize for each job."""
    return keeper.bring_up("slurm_without_accounting")


@pytest.fixture
def slurm_without_release(keeper: Keeper, own_cache: None) -> Cluster:
    """The same with disable_job_shrink."""
    return keeper.bring_up("slurm_without_release")


@pytest.fixture
def bound_slurm(keeper: Keeper, own_cache: None) -> Cluster:
    """Four nodes with two CPUs each, whose steps get the cores that Slurm gives them and no others."""
    return keeper.bring_up("bound_slurm")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of scheduler queries for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


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
        wait_for(lambda: not listed(set(ids)))


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


#: Where an ordinary user finds a Python with hpcsearch: it stays there, as the packages do.
_PYTHON = RUN / "python"
_ROOT = SCRIPTS.parents[1]


@pytest.fixture(scope="session")
def alices_python(keeper: Keeper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with hpcsearch that alice may run: the one of these tests, or one that is made of the system's own."""
    own = Path(sys.executable)
    argv = ["runuser", "-u", "alice", "--", str(own), "-P", "-c", "import hpcsearch"]
    if subprocess.run(argv, capture_output=True, cwd="/", check=False).returncode == 0:
        return own
    _install(tmp_path_factory.mktemp("wheel"))
    return _PYTHON / "bin/python"


def _install(folder: Path) -> None:
    """Installs hpcsearch as it is now; what it depends on is there from the last time."""
    found = [shutil.which(f"python3.{minor}", path="/usr/bin:/usr/local/bin") for minor in range(11, 20)]
    system = next((path for path in found if path), None)
    if system is None:
        pytest.skip("ordinary users have no Python >= 3.11 here: none in /usr/bin")
    if not _PYTHON.exists():
        _run(system, "-m", "venv", "--without-pip", str(_PYTHON))
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(_ROOT))
    (wheel,) = folder.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", str(_PYTHON / "bin/python"), "install", "--quiet")
    _run(*pip, str(wheel))
    _run(*pip, "--force-reinstall", "--no-deps", str(wheel))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
