"""A stand-in for PBS: a plugin that the folders load whose tests need it.

Its clients answer as a recorded OpenPBS does (tests/cluster/pbs), and jobs really run, on nodes that are namespaces of
this machine. Every test has a cluster of its own, with a folder of its own; nothing else on the machine is changed, and
at the end, or when the tests die, all that ran there is gone. It needs Linux, iproute2, and root or user namespaces.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from pbs.state import Server, Settings  # noqa: E402

CLIENTS = ("qsub", "qstat", "qdel", "qsig", "pbs_release_nodes", "pbs_tmrsh", "pbsnodes")

#: A client finds its server's folder by its own place. What it needs is the standard library alone.
_CLIENT = """\
#!{python} -IS
import sys
sys.path.insert(0, {here!r})
from pbs.commands import main
sys.exit(main({folder!r}, {name!r}, sys.argv[1:]))
"""

#: Short times in the order of the real ones: SIGTERM behind the walltime, SIGKILL behind that. A driver that is told to
#: end takes five seconds and a moment, which lasts where several tests share a core.
QUICK = Settings(term_late_s=2.0, kill_s=3.0, delete_kill_s=12.0, release_from_s=1.0)


@dataclass(frozen=True)
class PbsCluster:
    """A running cluster whose nodes are pn1, pn2, ..."""

    server: Server

    @property
    def bin(self) -> Path:
        """The folder with the clients, and with Hydra's mpiexec."""
        return self.server.folder / "bin"

    def crash(self, number: int) -> None:
        """Kills all that runs on a node, and waits until the server knows."""
        with self.server.changing() as state:
            state.nodes[f"pn{number}"].crash = True
        wait_for(lambda: self.server.read().nodes[f"pn{number}"].down)

    def node_of(self, pid: int) -> str:
        """The node that a process runs on, or nothing."""
        try:
            uts = Path(f"/proc/{pid}/ns/uts").stat().st_ino
        except OSError:
            return ""
        return next((name for name, node in self.server.read().nodes.items() if node.uts == uts), "")


def install(folder: Path, settings: Settings) -> Server:
    """Makes a server's folder with its clients; without a cluster, its jobs stay queued."""
    server = Server.create(folder, settings)
    (folder / "bin").mkdir()
    for name in CLIENTS:
        client = folder / "bin" / name
        values = {"python": sys.executable, "here": str(HERE), "folder": str(folder), "name": name}
        client.write_text(_CLIENT.format(**values))
        client.chmod(0o755)
    hydra = Path(sys.executable).with_name("mpiexec.hydra")
    if hydra.exists():
        launcher = folder / "bin" / "mpiexec"
        launcher.write_text(f'#!/bin/sh\nexec {hydra} "$@"\n')
        launcher.chmod(0o755)
    return server


@contextmanager
def running(settings: Settings = QUICK) -> Iterator[PbsCluster]:
    """A cluster of its own; skips the test where this machine has no namespaces to give."""
    if shutil.which("ip") is None:
        _get_iproute2()
    folder = Path(tempfile.mkdtemp(prefix="pbs-"))
    server = install(folder, settings)
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    kept = ["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--uts", "--net"]
    main = f"import sys; sys.path.insert(0, {str(HERE)!r}); from pbs.cluster import main; main({str(folder)!r})"
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", *own, *kept, sys.executable, "-I", "-S", "-c", main]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "up\n":
                pytest.skip(f"no namespaces on this machine: {(folder / 'log').read_text()}")
            yield PbsCluster(server)
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            _end(process)
            shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[str]) -> None:
    """Kills the first process of the cluster: when who started it sees that, everything there is gone."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() if process.poll() is None else ""
    for pid in children.split():
        os.kill(int(pid), signal.SIGKILL)
    process.wait()


def _get_iproute2() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("the stand-in for PBS needs the command ip")
    subprocess.run([HERE / "install.sh", "iproute2"], check=True, timeout=600)


def wait_for(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def pbs() -> Iterator[PbsCluster]:
    """Four nodes with two CPUs each."""
    with running() as cluster:
        yield cluster


@pytest.fixture
def pbs_with_service_node() -> Iterator[PbsCluster]:
    """The same where job scripts run on a host that is none of the nodes."""
    with running(dataclasses.replace(QUICK, service_node=True)) as cluster:
        yield cluster
