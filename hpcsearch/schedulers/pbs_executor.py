"""Our job scripts through the submitit executor for PBS."""

from __future__ import annotations

import os
from pathlib import Path

from hpcsearch.schedulers import pbs, query_cache
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.jobs import AllocationJob, ScriptExecutor
from hpcsearch.schedulers.pbs_submitit import PBSExecutor
from hpcsearch.schedulers.pbs_words import status_of
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site


class PBSSiteExecutor(ScriptExecutor, PBSExecutor):
    """Submits job scripts with qsub; functions go the way of any submitit user."""

    def __init__(self, folder: Path | str, site: Site) -> None:
        super().__init__(folder)
        self.site = site

    def _start(self, request: AllocationRequest) -> AllocationJob:
        if request.after:
            pbs.check_dependency(request.after)
        environment = pbs.submission_environment(os.environ)
        identifier = pbs.parse_submission(run(pbs.argv(request), environment=environment, cwd=request.folder))
        query_cache.note(self.site, identifier, status_of({"job_state": "Q"}))
        return AllocationJob(self.folder, identifier, self.site)
