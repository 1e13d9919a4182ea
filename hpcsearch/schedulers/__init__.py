"""Schedulers: submitting an allocation, its status in words, and cancelling it, the same for all of them.

submitit, which takes a tenth of a second to import, is loaded only to submit.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hpcsearch.schedulers import query_cache
from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause, Scheduler
from hpcsearch.schedulers.release import ReleaseOutcome, Releases, refused
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob, ScriptExecutor

__all__ = [
    "AllocationRequest",
    "AllocationState",
    "AllocationStatus",
    "EndCause",
    "ReleaseOutcome",
    "cancel",
    "dropped_variables",
    "executor",
    "first_look",
    "release",
    "releases_dead_too",
    "releases_once",
    "status",
    "submission_argv",
    "submit",
]

#: Scheduler -> its functions, and its submitit executor.
_TABLE: Mapping[str, tuple[str, str]] = {
    "local": ("hpcsearch.schedulers.local", "hpcsearch.schedulers.local_executor:LocalExecutor"),
    "slurm": ("hpcsearch.schedulers.slurm", "hpcsearch.schedulers.slurm_executor:SlurmExecutor"),
    "pbs": ("hpcsearch.schedulers.pbs", "hpcsearch.schedulers.pbs_executor:PBSSiteExecutor"),
}

#: What a site's key ``release`` names -> its functions.
_RELEASES: Mapping[str, str] = {
    "slurm": "hpcsearch.schedulers.slurm_release",
    "pbs": "hpcsearch.schedulers.pbs_release",
}


def scheduler(site: Site) -> Scheduler:
    """The functions of the site's scheduler."""
    return cast(Scheduler, importlib.import_module(_TABLE[site.scheduler][0]))


def executor(site: Site, folder: Path) -> ScriptExecutor:
    """A submitit executor for the site, whose files go to ``folder``; raises SchedulerError where there is none."""
    module, _, name = _TABLE[site.scheduler][1].partition(":")
    made: ScriptExecutor = getattr(importlib.import_module(module), name)(folder, site)
    return made


def submission_argv(request: AllocationRequest) -> tuple[str, ...]:
    """The exact command that ``submit`` runs."""
    return scheduler(request.site).argv(request)


def dropped_variables(site: Site, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables in ``environment`` that ``submit`` leaves out, because they would override the script."""
    return scheduler(site).dropped_variables(environment)


def submit(request: AllocationRequest, script: str) -> AllocationJob:
    """Submits a rendered script and gives submitit's Job for it; raises SchedulerError, and then leaves nothing."""
    return executor(request.site, request.folder).submit_script(script, request)


def status(site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
    """The status of each allocation by its scheduler id, from at most one query; raises SchedulerError."""
    return scheduler(site).status(site, ids) if ids else {}


def first_look(site: Site, identifier: str) -> AllocationStatus:
    """The status of an allocation that has just been submitted: ``can_run`` is False for what can never start.

    Asks the scheduler once if the site's poll interval allows a query now; else the allocation counts as queued, and
    ``status`` tells later. Raises SchedulerError.
    """
    return scheduler(site).first_look(site, identifier)


def release(site: Site, identifier: str, keep: Sequence[str], leave: Sequence[str], folder: Path) -> ReleaseOutcome:
    """Gives the hosts ``leave`` of a running allocation back, so that it goes on with ``keep``, first node included.

    ``folder`` is for files that the scheduler drops. A refusal is an outcome with its reason, never an exception.
    """
    if not leave:
        return ReleaseOutcome(True)
    if site.release not in _RELEASES:
        return refused(f"site {site.name} takes no nodes back before an allocation ends (release = {site.release!r})")
    return _releases(site).release(identifier, keep, leave, folder)


def releases_once(site: Site) -> bool:
    """Whether an allocation there can give nodes back only once; False where it cannot be told."""
    return site.release in _RELEASES and _releases(site).once()


def releases_dead_too(site: Site) -> bool:
    """Whether an allocation there has to give back nodes that died; False where it gives back none."""
    return site.release in _RELEASES and _releases(site).dead_too()


def _releases(site: Site) -> Releases:
    return cast(Releases, importlib.import_module(_RELEASES[site.release]))


def cancel(site: Site, identifier: str) -> None:
    """Asks the scheduler to end an allocation; nothing happens to one that has ended. Raises SchedulerError."""
    scheduler(site).cancel(identifier)
    query_cache.forget(site, identifier)
