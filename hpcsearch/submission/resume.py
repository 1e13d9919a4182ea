"""Continuing a workflow: another allocation, with its settings as they were or as they are told now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, update

from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import SchedulerError, UsageError
from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import Standing, ask_schedulers, view, with_cancel
from hpcsearch.sites import limits
from hpcsearch.sites.find import find_site
from hpcsearch.submission.announcing import announce
from hpcsearch.submission.api import Submitted
from hpcsearch.submission.chain import check_chain, enter, follow, new_allocation
from hpcsearch.submission.creating import SETTINGS, Orders
from hpcsearch.submission.limits import Limits, fit_budget, refuse_reached
from hpcsearch.submission.request import check_run_settings
from hpcsearch.submission.steps import Steps
from hpcsearch.submission.stopping import changed_stopper
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob


#: What settings are where a workflow was made by a version that did not have them.
_DEFAULTS: Mapping[str, Any] = {
    one.name: one.default_factory() if one.default is MISSING and one.default_factory is not MISSING else one.default
    for one in fields(Plan)
    if one.name in SETTINGS
}


@dataclass(frozen=True)
class Changes:
    """What is to differ from the workflow's last allocation; None stays as it was."""

    nodes: int | None = None
    walltime_s: int | None = None
    queue: str | None = None
    account: str | None = None
    job_mode: str | None = None
    site: str | None = None
    max_evals: int | None = None
    max_success: int | None = None
    max_attempts: int | None = None
    retry_failed: bool | None = None
    evals_per_node: int | None = None
    nodes_per_eval: int | None = None
    ranks_per_node: int | None = None
    threads_per_rank: int | None = None
    gpus_per_rank: int | None = None
    eval_timeout_s: float | None = None
    resumable: bool | None = None
    slot_reuse: str | None = None
    stopper: str | None = None
    stopper_arguments: Mapping[str, Any] | None = None
    stopper_metric: str | None = None
    stopping: str | None = None
    stop_grace_s: float | None = None
    stop_margin_s: float | None = None
    bind: bool | None = None
    chain: int | None = None  # never taken over: each resume says it anew


def resume(layout: Layout, changes: Changes, steps: Steps) -> Submitted:
    """Submits another allocation for an existing workflow, or a chain of them.

    Raises:
        UsageError: an allocation of it may still work, its search is done and it is given no more, or the new limits
            are below what has been started, or has succeeded, already.
        HpcsearchError: the site or the scheduler refused; then the workflow is as it was. But where the scheduler
            takes some allocations of a chain and no more, these stay, and the error says which.
    """
    changed = {name: value for name, value in vars(changes).items() if value is not None}
    check_run_settings(changed)
    with steps.step("Reading workflow database"):
        workflow, allocations, succeeded = _read(layout)
        _refuse_live(layout, allocations)
        before = {**_DEFAULTS, **json.loads(workflow["settings"])}
        changed |= changed_stopper(changed, before)
        had = Limits(workflow["max_evals"], before["max_success"])
        _refuse_done(layout, workflow, had, changes)
        if changes.max_success is not None or workflow["finished_at"] is not None:
            refuse_reached(changes.max_success or had.max_success, succeeded)
    last = allocations[-1] if allocations else {}
    wanted = {**before, **last, **changed}
    wanted["walltime_s"] = int(wanted["walltime_s"])
    check_run_settings({**wanted, "chain": changes.chain})  # what is new may not go with what was
    site = find_site(wanted["site"], queue=wanted["queue"], workflow=layout.root)
    limits.check_request(site, wanted["queue"], wanted["nodes"], wanted["walltime_s"], wanted["account"])
    limits.check_slots(site, wanted["queue"], wanted["evals_per_node"], wanted["bind"])
    limits.check_ranks(site, wanted["queue"], wanted)
    chain = changes.chain or 1
    check_chain(site, wanted["queue"], chain)
    names = tuple(json.loads(workflow["names"]))
    orders = Orders(layout, site, workflow["run"], names, Path(workflow["cwd"]), wanted)
    number = last.get("number", 0) + 1
    with new_allocation(layout, number) as (connection, submitted):
        with steps.step(f"Continuing HPS({workflow['search'].upper()}) workflow"):
            again = had.max_evals if workflow["finished_at"] is not None else None
            taken_back = _change(connection, changes.max_evals or again, {name: wanted[name] for name in SETTINGS})
        if taken_back:
            steps.say(f"Configurations that were proposed and have not begun are taken back: {taken_back}.")
        with steps.step("Performing job submission"):
            jobs = [enter(connection, submitted, orders, number)]
    if chain > 1:
        with steps.step("Performing job submission of the chain"):
            _follow(orders, number, chain, jobs)
    announce(steps, orders.request(number), jobs, "go on")
    return Submitted(tuple(jobs), site, layout, number)


def _follow(orders: Orders, first: int, chain: int, jobs: list[AllocationJob]) -> None:
    """Submits the rest of a chain; unlike in a new search, what the scheduler has taken stays when it takes no more."""
    try:
        for job in follow(orders, first, chain, jobs[0]):
            jobs.append(job)  # one by one, so that those that stay are known
    except SchedulerError as error:
        typed, last = orders.layout.typed, first + len(jobs) - 1
        which = f"allocation {first} stays" if last == first else f"allocations {first} to {last} stay"
        raise SchedulerError(
            f"{error.message.rstrip('.')}. Of {chain} allocations {len(jobs)} were submitted: {which}.",
            f"See 'hpcsearch status {typed}'; type 'hpcsearch resume {typed}' for more when it has ended.",
        ) from None


def _read(layout: Layout) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """The workflow's row, its allocations, and how many evaluations have succeeded."""
    with reading(layout.database) as connection:
        workflow = dict(queries.workflow_row(connection))
        allocations = [dict(row) for row in queries.allocation_rows(connection)]
        return workflow, allocations, queries.count_states(connection).get(State.FINISHED, 0)


def _refuse_live(layout: Layout, allocations: Sequence[Mapping[str, Any]]) -> None:
    statuses = ask_schedulers({layout: allocations})[layout]
    for row in allocations:
        seen = with_cancel(view(row, statuses.get(row["number"])), layout)
        if seen.live:
            told = seen.standing is Standing.CANCELLING
            raise UsageError(
                f"Allocation {seen.number} of {layout.name!r} is still {seen.standing}. {seen.reason}".rstrip(),
                f"Wait until it has ended: 'hpcsearch status {layout.typed}' says when."
                if told
                else f"Wait for it, or end it with 'hpcsearch cancel {layout.typed}'.",
            )


def _refuse_done(layout: Layout, workflow: Mapping[str, Any], had: Limits, changes: Changes) -> None:
    """A search that is done goes on only with a larger limit than it had."""
    limits = {name: limit for name, limit in vars(had).items() if limit is not None}
    raised = any((getattr(changes, name) or 0) > limit for name, limit in limits.items())
    if workflow["finished_at"] is not None and not raised:
        why = f": {workflow['outcome']}" if workflow["outcome"] else ""
        more = " or ".join(f"--{name.replace('_', '-')}" for name in limits)
        with_more = f", or give it more with {more}" if more else ""
        raise UsageError(
            f"The search of {layout.name!r} is done{why}.".replace("..", "."),
            f"See 'hpcsearch results {layout.typed}'{with_more}.",
        )


def _change(connection: Connection, max_evals: int | None, settings: Mapping[str, Any]) -> int:
    """Lets the search go on, under the settings and the budget given; None leaves the budget as it was.

    Returns:
        how many proposals were taken back because the budget has no room for them.
    """
    values = {"settings": json.dumps(settings), "finished_at": None, "outcome": None}
    connection.execute(update(schema.workflow).values(**values))
    return 0 if max_evals is None else fit_budget(connection, max_evals)
