"""The bed of a real Slurm. Its nodes are networks of their own on this machine, so all processes are seen from here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenario_bed import GONE, LEAVING_S, ClusterBed, Process, Search, all_processes, until

if TYPE_CHECKING:
    from slurm_cluster import Cluster

#: What the site's file says beyond the packaged one: a test cannot wait for half a minute between two questions.
_SITE = "poll_interval_s = 1\ndrain_margin_s = 5\n"

#: Nodes are waited for so long (seconds).
BEGIN_LIMIT_S = 240.0


class SlurmBed(ClusterBed):
    """Four nodes of a cluster, as root."""

    name = "slurm"
    queue = "debug"
    account = "lab"
    nodes = 4
    cores = 4
    short_walltime_s = 60
    pace = 10.0
    needs: tuple[str, ...] = ("slurm",)
    node_prefix = "sn"
    no_such_queue = "nvalid partition"

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self._scripts: dict[str, Process] = {}
        self._nodes = {Path(f"/run/netns/slurm-sn{n}").stat().st_ino: f"sn{n}" for n in range(1, cluster.nodes + 1)}
        sites = folder / "config" / "hpcsearch" / "sites"
        sites.mkdir(parents=True)
        (sites / "slurm.toml").write_text(_SITE)

    def submit(self, *arguments: Any, **options: Any) -> Search:
        search = super().submit(*arguments, **options)
        if not options.get("status", 0):
            self.await_begin(search.scheduler_ids()[1])
        return search

    def await_begin(self, identity: str) -> None:
        """Waits until a job no longer waits for its nodes: somebody else may use the cluster."""
        argv = ["squeue", "-h", "--states=all", "-o", "%T", "-j", identity]
        until(
            lambda: subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() != "PENDING",
            f"job {identity} begins",
            limit_s=BEGIN_LIMIT_S,
        )

    def script(self, search: Search, allocation: int) -> Process:
        identity = search.scheduler_ids()[allocation]
        if identity not in self._scripts:
            for process in all_processes():
                script = process.argv()[1:2]
                ours = bool(script) and script[0].endswith("/slurm_script")
                if ours and process.environment().get("SLURM_JOB_ID") == identity:
                    self._scripts[identity] = process
        return self._scripts.get(identity, GONE)

    def node_of(self, process: Process) -> str:
        try:
            return self._nodes.get(Path(f"/proc/{process.pid}/ns/net").stat().st_ino, "")
        except OSError:
            return ""

    def end_allocations(self) -> list[str]:
        end_s = time.monotonic() + LEAVING_S
        while (left := self._jobs()) and time.monotonic() < end_s:
            time.sleep(0.2)
        if left:
            subprocess.run(["scancel", *left], check=False)
            until(lambda: not self._jobs(), "the jobs end")
        return [f"job {what}" for what in left.values()]

    def _jobs(self) -> dict[str, str]:
        """The jobs of this bed that Slurm has not done with: id -> what squeue shows of it."""
        argv = ["squeue", "-h", "-o", "%i|%Z|%j %T %N"]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        jobs = (line.split("|") for line in lines)
        return {identity: what for identity, folder, what in jobs if Path(folder).is_relative_to(self.folder)}

    def job(self, identity: str) -> tuple[str, list[str]]:
        argv = ["squeue", "-h", "--states=all", "-o", "%T %N", "-j", identity]
        word, *nodes = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        names = ["scontrol", "show", "hostnames", *nodes]
        hosts = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split() if nodes else []
        return {"PENDING": "waits", "RUNNING": "runs", "COMPLETING": "runs"}.get(word, "ended"), hosts

    @contextmanager
    def others_job(self, command: str, nodes: int) -> Iterator[str]:
        argv = ["sbatch", "--parsable", "-o", "/dev/null", f"-N{nodes}", "--exclusive", "-p", self.queue]
        as_alice = ["runuser", "-u", "alice", "--", *argv, "--wrap", command]
        identity = subprocess.run(as_alice, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
        try:
            yield identity
        finally:
            subprocess.run(["scancel", identity], check=False)
            until(lambda: self.job(identity)[0] == "ended", "the other's job ends")

    @contextmanager
    def crashed(self, number: int) -> Iterator[None]:
        self.cluster.crash(number)
        try:
            yield
        finally:
            self.cluster.start(number)


class AlicesBed(SlurmBed):
    """The same for an ordinary user."""

    needs = ("slurm", "alices_python")

    def __init__(self, folder: Path, cluster: Cluster, python: Path) -> None:
        own = Path(tempfile.mkdtemp(prefix="hpcsearch-", dir="/var/tmp"))
        super().__init__(own, cluster)
        self.python = python
        self.prefix = ("runuser", "-u", "alice", "--")
        subprocess.run(["chown", "-R", "alice:", own], check=True)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "HOME": os.fspath(self.folder), "USER": "alice"}

    def close(self) -> None:
        shutil.rmtree(self.folder)


class SlurmMpiBed(SlurmBed):
    """The same in job mode mpi: each evaluation is a launch."""

    job_mode = "mpi"


class UnaccountedBed(SlurmBed):
    """A cluster without slurmdbd."""

    needs = ("slurm_without_accounting",)


class KeepingBed(SlurmBed):
    """A cluster that takes no nodes back before a job ends."""

    needs = ("slurm_without_release",)


class BoundBed(SlurmBed):
    """A cluster whose steps are bound to cores."""

    cores = 2
    needs = ("bound_slurm",)
