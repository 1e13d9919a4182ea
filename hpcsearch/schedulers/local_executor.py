"""submitit's local executor, with allocations as processes that outlive their submitter."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import ClassVar

from submitit.local.local import LocalExecutor as SubmititLocalExecutor

from hpcsearch.schedulers import local
from hpcsearch.schedulers.base import AllocationStatus
from hpcsearch.schedulers.command import start_detached
from hpcsearch.schedulers.jobs import AllocationJob, ScriptExecutor
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site


class LocalJob(AllocationJob):
    """An allocation on this machine; asking costs nothing, so it is asked often."""

    _results_timeout_s = 1
    _wait_s: ClassVar[float] = 0.05

    def status(self) -> AllocationStatus:
        # Its parent collects an ended one; anybody else, and a second time, there is nothing to collect
        with contextlib.suppress(ChildProcessError):
            os.waitpid(ProcessId.parse(self.job_id).pid, os.WNOHANG)
        return super().status()


class LocalExecutor(ScriptExecutor, SubmititLocalExecutor):
    """Starts job scripts in the background of this machine; functions go submitit's own way."""

    def __init__(self, folder: Path | str, site: Site) -> None:
        super().__init__(folder)
        self.site = site

    def _start(self, request: AllocationRequest) -> AllocationJob:
        pid = start_detached(local.argv(request), request.stdout, request.stderr)
        return LocalJob(self.folder, str(ProcessId.of(pid)), self.site)
