"""Slurm: submission, status and cancelling through its commands."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import query_cache
from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause
from hpcsearch.schedulers.command import Completed, run
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.schedulers.slurm_words import status_of
from hpcsearch.sites.duration import parse_duration
from hpcsearch.sites.model import Site

#: Set by a user to reach the controller; all other SLURM_ and SBATCH_ variables change what a script asks for.
_KEPT_VARIABLES = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})

#: What sbatch says when it refuses, and what to do about it.
_HINTS: Mapping[str, str] = {
    "Invalid account": "Type -A and an account of yours; `sacctmgr show assoc user=$USER format=account` lists them.",
    "Invalid partition": "`sinfo` lists the partitions; -q names the queue, and the site file its partition.",
    "invalid partition": "`sinfo` lists the partitions; -q names the queue, and the site file its partition.",
    "Invalid qos": "`sacctmgr show qos format=name` lists them; the site file says which one a queue means.",
    "node configuration is not available": "No node is like that, or there are not so many: ask for fewer with -n.",
    "Invalid feature": "The site file's --constraint names no feature of this machine; `sinfo -o %f` lists them.",
    "Invalid generic resource": "The site file's --gres names nothing that this machine has.",
    "Unable to contact slurm controller": "Slurm is down or unreachable; try again later.",
    "violates accounting/QOS policy": "The account or QOS has a limit that this goes over: ask for less, or wait.",
}

_FORMAT = "%i|%T|%r|%L"


def argv(request: AllocationRequest) -> tuple[str, ...]:
    return ("sbatch", "--parsable", str(request.script))


def dropped_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that would change what a script asks for, or belong to a job that the submitter runs in."""
    names = (name for name in environment if name.startswith(("SLURM_", "SBATCH_")))
    return tuple(sorted(name for name in names if name not in _KEPT_VARIABLES))


def submission_environment(environment: Mapping[str, str]) -> dict[str, str]:
    dropped = dropped_variables(environment)
    return {name: value for name, value in environment.items() if name not in dropped}


def parse_submission(done: Completed) -> str:
    """The id that ``sbatch --parsable`` gave; raises SchedulerError with what it said when it refused."""
    identifier = done.stdout.strip().split(";")[0]
    if done.status == 0 and re.fullmatch(r"\d+", identifier):
        return identifier
    said = re.sub(r"sbatch: (error: )?", "", done.said)
    hint = next((hint for words, hint in _HINTS.items() if words in said), "")
    raise SchedulerError(f"Slurm refused the allocation: {said}", hint)


def status(site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
    return query_cache.statuses(site, ids, query)


def first_look(site: Site, identifier: str) -> AllocationStatus:
    return query_cache.first_look(site, identifier, query)


def query(ids: Collection[str]) -> dict[str, AllocationStatus]:
    """Every id's status: from squeue, and where there is accounting from it what squeue does not tell.

    That is how an allocation ended that is no longer listed, and who cancelled one.
    """
    found = _squeue(ids)
    untold = [each for each in ids if each not in found or found[each].cause is EndCause.CANCELLED]
    if untold:
        for identifier, told in _sacct(untold).items():
            if identifier not in found or told.state is AllocationState.ENDED:
                found[identifier] = told
    gone = AllocationStatus(
        AllocationState.ENDED, "Slurm does not list it any more, and no accounting on this machine says how it ended."
    )
    return {identifier: found.get(identifier, gone) for identifier in ids}


def cancel(identifier: str) -> None:
    done = run(["scancel", identifier])
    if done.status:
        raise SchedulerError(f"Slurm did not cancel {identifier}: {done.said}")


def _squeue(ids: Collection[str]) -> dict[str, AllocationStatus]:
    done = run(["squeue", "--noheader", "--states=all", f"--format={_FORMAT}", f"--jobs={','.join(ids)}"])
    if done.status and "Invalid job id" not in done.said:
        raise SchedulerError(f"squeue gave no answer: {done.said}", "Slurm is busy or down; try again later.")
    return parse_squeue(done.stdout)


def parse_squeue(text: str) -> dict[str, AllocationStatus]:
    """Id -> status from lines of ``_FORMAT``."""
    found = {}
    for line in text.splitlines():
        identifier, word, reason, left = line.strip().split("|")
        found[identifier] = status_of(word, reason, parse_time_left(left))
    return found


def parse_time_left(text: str) -> int | None:
    """Seconds in ``29:31``, ``1:00:00`` or ``1-00:00:00``; None for UNLIMITED, NOT_SET and INVALID."""
    days, _, clock = text.rpartition("-")
    try:
        return parse_duration(f"{days or 0}-{'0:' if clock.count(':') == 1 else ''}{clock}")
    except ValueError:
        return None


def _sacct(ids: Collection[str]) -> dict[str, AllocationStatus]:
    try:
        done = run(
            ["sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State", f"--jobs={','.join(ids)}"]
        )
    except SchedulerError:
        # Not every machine has the command, and where the accounting hangs squeue's answer still counts
        return {}
    return parse_sacct(done.stdout) if done.status == 0 else {}


def parse_sacct(text: str) -> dict[str, AllocationStatus]:
    """Id -> status; of several rows (one for each resize) the last one counts."""
    return {identifier: status_of(word) for identifier, word in (line.split("|") for line in text.splitlines())}
