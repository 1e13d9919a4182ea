"""submitit's Slurm executor, with our job script and a state that needs no accounting."""

from __future__ import annotations

import os
from pathlib import Path

from submitit.slurm.slurm import SlurmExecutor as SubmititSlurmExecutor

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import query_cache, slurm
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.jobs import AllocationJob, ScriptExecutor
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.schedulers.slurm_words import status_of
from hpcsearch.sites.model import Site


class SlurmExecutor(ScriptExecutor, SubmititSlurmExecutor):
    """Submits job scripts with sbatch; functions go submitit's own way."""

    def __init__(self, folder: Path | str, site: Site) -> None:
        try:
            super().__init__(folder)
        except RuntimeError:
            raise SchedulerError(
                f"site {site.name} has Slurm, but its commands are not on this machine", "Name another with --site."
            ) from None
        self.site = site

    def _start(self, request: AllocationRequest) -> AllocationJob:
        environment = slurm.submission_environment(os.environ)
        # The working directory of a job is where sbatch was run
        identifier = slurm.parse_submission(run(slurm.argv(request), environment=environment, cwd=request.folder))
        query_cache.note(self.site, identifier, status_of("PENDING"))
        return AllocationJob(self.folder, identifier, self.site)
