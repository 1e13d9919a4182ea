"""PBS: its job scripts can be rendered and looked at, but this version does not submit them yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.base import AllocationStatus
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site


def argv(request: AllocationRequest) -> tuple[str, ...]:
    return ("qsub", str(request.script))


def dropped_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """PBS_DPREFIX would make qsub read another prefix than ``#PBS`` in the script."""
    return tuple(name for name in ("PBS_DPREFIX",) if name in environment)


def status(site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
    _refuse(site.name)


def first_look(site: Site, identifier: str) -> AllocationStatus:
    _refuse(site.name)


def cancel(identifier: str) -> None:
    raise SchedulerError(
        f"allocation {identifier} is not cancelled: this version of hpcsearch does not talk to PBS yet",
        f"Type qdel {identifier}.",
    )


def no_executor(folder: Path, site: Site) -> NoReturn:
    """Stands for the submitit executor that is to come; raises SchedulerError."""
    _refuse(site.name)


def _refuse(site: str) -> NoReturn:
    raise SchedulerError(
        f"site {site} has PBS, which this version of hpcsearch does not talk to yet",
        "--dry-run shows the script; site local, slurm and the sites that have Slurm work: --site names one.",
    )
