"""This machine as a scheduler: an allocation is a process, its status is read from /proc."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.base import AllocationState, AllocationStatus
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site


def argv(request: AllocationRequest) -> tuple[str, ...]:
    return ("bash", str(request.script))


def dropped_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    return ()


def status(site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
    return {identifier: _status(identifier) for identifier in ids}


def first_look(site: Site, identifier: str) -> AllocationStatus:
    return _status(identifier)


def cancel(identifier: str) -> None:
    process = _parse(identifier)
    if not process.is_here:
        raise SchedulerError(f"allocation {identifier} runs on {process.host}", f"Cancel it on {process.host}.")
    try:
        process.send(signal.SIGTERM)
    except PermissionError:
        raise SchedulerError(f"allocation {identifier} belongs to another user") from None


def _status(identifier: str) -> AllocationStatus:
    try:
        process = ProcessId.parse(identifier)
    except ValueError:
        return AllocationStatus(AllocationState.UNKNOWN, f"{identifier!r} is no id of site local.")
    if not process.is_here:
        return AllocationStatus(AllocationState.UNKNOWN, f"It was started on {process.host}; only that host knows.")
    if process.alive():
        return AllocationStatus(AllocationState.RUNNING, f"It runs here as process {process.pid}.", "RUNNING")
    return AllocationStatus(AllocationState.ENDED, "Its process has ended.", "FINISHED")


def _parse(identifier: str) -> ProcessId:
    try:
        return ProcessId.parse(identifier)
    except ValueError:
        raise SchedulerError(f"{identifier!r} is no id of an allocation of site local") from None
