"""What is to be said of allocations that have just been submitted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError
from hpcsearch.settings import VARIABLES
from hpcsearch.sites import Site
from hpcsearch.submission.steps import Steps, banner, facts_block
from hpcsearch.workflow.layout import Layout

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob

#: More variables of one kind than this are counted, not named.
_NAMED = 6


def announce(steps: Steps, allocation: schedulers.AllocationRequest, jobs: Sequence[AllocationJob], verb: str) -> None:
    """Says what was submitted: the first allocation's facts, what follows it, and what stands in its way."""
    steps.say(facts_block(facts(allocation, jobs[0].job_id)))
    if len(jobs) > 1:
        steps.say(_followers(allocation.number, jobs[1:]))
    never = never_starts(allocation.site, jobs[0].job_id)
    if never:
        typed = Layout(allocation.directory).typed
        steps.say(f"Allocation {allocation.number} was accepted, but: {never}")
        steps.say(
            f"Take it back with 'hpcsearch cancel {typed}', then ask for less with "
            f"'hpcsearch resume {typed} -n NODES -t TIME'."
        )
    say_dropped(steps, allocation)
    steps.say(banner(f"Success. The search will {verb} at: {allocation.directory}"))


def facts(allocation: schedulers.AllocationRequest, job_id: str) -> dict[str, Any]:
    """What a submitted allocation is, as the last lines of a submission show it."""
    minutes = allocation.walltime_s / 60
    return {
        "command": str(allocation.script),
        "id": allocation.number,
        "job_mode": allocation.job_mode,
        "nodes": allocation.nodes,
        "project": allocation.account,
        "queue": allocation.queue,
        "scheduler_id": int(job_id) if job_id.isdecimal() else job_id,
        "state": "submitted",
        "wall_minutes": int(minutes) if minutes.is_integer() else round(minutes, 2),
        "workflow": allocation.workflow,
    }


def never_starts(site: Site, job_id: str) -> str:
    """Why the scheduler will never start what it has just accepted, as a sentence; empty when it may start it."""
    try:
        status = schedulers.first_look(site, job_id)
    except SchedulerError:  # it has the allocation; status will tell when it answers again
        return ""
    return "" if status.can_run else status.reason


def say_dropped(
    steps: Steps, allocation: schedulers.AllocationRequest, environment: Mapping[str, str] = os.environ
) -> None:
    """Says, in one line, which variables are not passed on; those of which the script says the same are no news."""
    said = {"account": allocation.account, "queue": allocation.queue}
    same = [VARIABLES[name][1] for name, value in said.items() if environment.get(VARIABLES[name][1] or "") == value]
    dropped = [name for name in schedulers.dropped_variables(allocation.site, environment) if name not in same]
    if dropped:
        steps.say(f"Not passed on, because they would override the job script: {_named(dropped)}.")


def _named(variables: Iterable[str]) -> str:
    kinds: dict[str, list[str]] = {}
    for name in variables:
        kinds.setdefault(name.partition("_")[0] + "_", []).append(name)
    return ", ".join(
        f"{len(names)} variables {kind}*" if len(names) > _NAMED else ", ".join(names) for kind, names in kinds.items()
    )


def _followers(first: int, jobs: Sequence[AllocationJob]) -> str:
    listed = ", ".join(f"{number} ({job.job_id})" for number, job in enumerate(jobs, start=first + 1))
    return f"Then, each when the one before has ended: allocation{'' if len(jobs) == 1 else 's'} {listed}."
