"""The bed of the stand-in for PBS. Its nodes are namespaces of this machine, so all processes are seen from here."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenario_bed import GONE, LEAVING_S, ClusterBed, Process, Search, all_processes, until

if TYPE_CHECKING:
    from pbs_cluster import PbsCluster

#: What the site's file says beyond the packaged one: a test cannot wait for half a minute between two questions.
_SITE = "poll_interval_s = 1\ndrain_margin_s = 3\n"


class PbsBed(ClusterBed):
    """Four nodes, whose clients answer as those of a real OpenPBS did."""

    name = "pbs"
    queue = "batch"
    account = "lab"
    nodes = 4
    node_prefix = "pn"
    short_walltime_s = 30
    pace = 5.0
    needs: tuple[str, ...] = ("pbs",)
    site = _SITE
    no_such_queue = "Unknown queue"

    def __init__(self, folder: Path, cluster: PbsCluster) -> None:
        super().__init__(folder)
        self.cores = len(os.sched_getaffinity(0))
        self.cluster = cluster
        sites = folder / "config" / "hpcsearch" / "sites"
        sites.mkdir(parents=True)
        (sites / "pbs.toml").write_text(self.site)

    def environment(self) -> dict[str, str]:
        own = super().environment()
        return {**own, "PATH": f"{self.cluster.bin}:{own['PATH']}"}

    def is_ours(self, environment: Mapping[str, str]) -> bool:
        # A job has none of its submitter's environment.
        return environment.get("PATH", "").startswith(f"{self.cluster.bin}:")

    def script(self, search: Search, allocation: int) -> Process:
        path = self.cluster.server.folder / "jobs" / f"{search.scheduler_ids()[allocation]}.SC"
        found = (process for process in all_processes() if process.argv()[1:] == [str(path)])
        return next(found, GONE)

    def node_of(self, process: Process) -> str:
        return self.cluster.node_of(process.pid)

    def end_allocations(self) -> list[str]:
        end_s = time.monotonic() + LEAVING_S
        while (left := self._jobs()) and time.monotonic() < end_s:
            time.sleep(0.2)
        for identity in left:
            self._client("qdel", "-W", "force", identity)
        until(lambda: not self._jobs(), "the jobs end")
        return [f"job {identity} {job['job_state']}" for identity, job in left.items()]

    def job(self, identity: str) -> tuple[str, list[str]]:
        job = json.loads(self._client("qstat", "-x", "-f", "-F", "json", identity))["Jobs"][identity]
        hosts = [place.partition("/")[0] for place in job.get("exec_host", "").split("+")]
        word = {"Q": "waits", "H": "waits", "R": "runs", "E": "runs", "F": "ended"}[job["job_state"]]
        return word, [host for host in hosts if host]

    @contextmanager
    def others_job(self, command: str, nodes: int) -> Iterator[str]:
        script = ("-k", "doe", "-o", "/dev/null", "-j", "oe", "-l", f"select={nodes}", "-l", "place=scatter:excl")
        identity = self._client("qsub", *script, "--", "/bin/sh", "-c", command, LOGNAME="alice").strip()
        try:
            yield identity
        finally:
            self._client("qdel", "-W", "force", identity)

    @contextmanager
    def crashed(self, number: int) -> Iterator[None]:
        self.cluster.crash(number)
        yield

    def _jobs(self) -> dict[str, Any]:
        """The jobs of the cluster that have not ended."""
        jobs: dict[str, Any] = json.loads(self._client("qstat", "-f", "-F", "json")).get("Jobs", {})
        return jobs

    def _client(self, name: str, *arguments: str, **environment: str) -> str:
        argv = [str(self.cluster.bin / name), *arguments]
        return subprocess.run(
            argv, capture_output=True, text=True, check=True, cwd=self.folder, env={**os.environ, **environment}
        ).stdout


class PbsMpiBed(PbsBed):
    """The same in job mode mpi: each evaluation is a launch, through PBS's own remote shell."""

    job_mode = "mpi"


class ServiceNodeBed(PbsBed):
    """A cluster whose job scripts run on a host that is none of their nodes."""

    needs = ("pbs_with_service_node",)
    site = f'{_SITE}driver = "service-node"\n'


class BareBed(PbsBed):
    """A cluster without any mpiexec: agents are started through PBS's own task manager."""

    site = f'{_SITE}[launcher]\nkind = "tm"\n'
