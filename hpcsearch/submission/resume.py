"""Continuing a workflow: another allocation, with its settings as they were or as they are told now."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from hpcsearch import schedulers
from hpcsearch.errors import UsageError
from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import ask_schedulers, view
from hpcsearch.sites.find import find_site
from hpcsearch.sites.render import render_job_script
from hpcsearch.submission.api import Submitted, facts
from hpcsearch.submission.creating import SETTINGS, allocation_row, make_plan, make_request, write_plan
from hpcsearch.submission.request import check_run_settings
from hpcsearch.submission.steps import Steps, banner, facts_block
from hpcsearch.workflow import queries, schema, store
from hpcsearch.workflow.database import reading, writer
from hpcsearch.workflow.layout import Layout

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob


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
    evals_per_node: int | None = None
    eval_timeout_s: float | None = None
    resumable: bool | None = None
    slot_reuse: str | None = None
    bind: bool | None = None


def resume(layout: Layout, changes: Changes, steps: Steps) -> Submitted:
    """Submits another allocation for an existing workflow.

    Raises:
        UsageError: an allocation of it may still work, its search is done and the budget is no larger, or the new
            budget is below what has been started already.
        HpcsearchError: the site or the scheduler refused; then the workflow is as it was.
    """
    changed = {name: value for name, value in vars(changes).items() if value is not None}
    check_run_settings(changed)
    with steps.step("Reading workflow database"):
        workflow, allocations = _read(layout)
        _refuse_live(layout, allocations)
        _refuse_done(layout, workflow, changes.max_evals)
    last = allocations[-1] if allocations else {}
    wanted = {**json.loads(workflow["settings"]), **last, **changed}
    wanted["walltime_s"] = int(wanted["walltime_s"])
    number, cwd, names = last.get("number", 0) + 1, Path(workflow["cwd"]), tuple(json.loads(workflow["names"]))
    site = find_site(wanted["site"], queue=wanted["queue"], workflow=layout.root)
    site.check_request(wanted["queue"], wanted["nodes"], wanted["walltime_s"], wanted["account"])
    request = make_request(layout, number, site, cwd, wanted)
    with _new_allocation(layout, number) as (connection, submitted):
        with steps.step(f"Continuing HPS({workflow['search'].upper()}) workflow"):
            _change(connection, changes.max_evals, {name: wanted[name] for name in SETTINGS})
            write_plan(layout, make_plan(layout, number, site, workflow["run"], names, cwd, wanted))
            script = render_job_script(request)
        with steps.step("Performing job submission"):
            job = schedulers.submit(request, script)
            submitted.append(job)
            row = {**allocation_row(number, site, wanted), "scheduler_id": job.job_id, "submitted_at": time.time()}
            connection.execute(insert(schema.allocation).values(state="SUBMITTED", **row))
    steps.say(facts_block(facts(request, job.job_id)))
    steps.say(banner(f"Success. The search will go on at: {layout.root}"))
    return Submitted(job, site, layout, number)


def _read(layout: Layout) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with reading(layout.database) as connection:
        workflow = dict(queries.workflow_row(connection))
        return workflow, [dict(row) for row in queries.allocation_rows(connection)]


def _refuse_live(layout: Layout, allocations: Sequence[Mapping[str, Any]]) -> None:
    statuses = ask_schedulers({layout: allocations})[layout]
    for row in allocations:
        seen = view(row, statuses.get(row["number"]))
        if seen.live:
            raise UsageError(
                f"Allocation {seen.number} of {layout.name!r} is still {seen.standing}. {seen.reason}".rstrip(),
                f"Wait for it, or end it with 'hpcsearch cancel {layout.name}'.",
            )


def _refuse_done(layout: Layout, workflow: Mapping[str, Any], max_evals: int | None) -> None:
    """A search that is done goes on only with a larger budget than it had."""
    budget = workflow["max_evals"]
    larger = max_evals is not None and budget is not None and max_evals > budget
    if workflow["finished_at"] is not None and not larger:
        why = f": {workflow['outcome']}" if workflow["outcome"] else ""
        raise UsageError(
            f"The search of {layout.name!r} is done{why}.".replace("..", "."),
            f"See 'hpcsearch results {layout.name}', or give it more with --max-evals.",
        )


@contextmanager
def _new_allocation(layout: Layout, number: int) -> Iterator[tuple[Connection, list[AllocationJob]]]:
    """A transaction in which an allocation is made and submitted; all of it is undone when the block fails.

    It holds the write lock: two who resume at once follow each other, and a driver that starts faster than its
    submission is recorded waits for that.
    """
    submitted: list[AllocationJob] = []
    engine = writer(layout.database)
    folder: Path | None = None
    try:
        with engine.begin() as connection:
            if store.next_allocation(connection) != number:
                raise UsageError(f"{layout.name!r} was resumed by somebody else just now.", "See 'hpcsearch status'.")
            folder = layout.allocation(number)
            # Left by a submission that was killed: no row, so no job that works on it.
            shutil.rmtree(folder, ignore_errors=True)
            yield connection, submitted
    except BaseException:
        for job in submitted:
            job.cancel(check=False)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        engine.dispose()


def _change(connection: Connection, max_evals: int | None, settings: Mapping[str, Any]) -> None:
    """Lets the search go on, under the settings and the budget given."""
    columns = schema.workflow.c
    values: dict[str, Any] = {"settings": json.dumps(settings), "finished_at": None, "outcome": None}
    if max_evals is not None:
        claimed = connection.execute(select(columns.claimed)).scalar_one()
        surplus = max(0, claimed - max_evals)
        _cancel_proposed(connection, surplus, claimed)
        values |= {"max_evals": max_evals, "claimed": claimed - surplus}
    connection.execute(update(schema.workflow).values(**values))


def _cancel_proposed(connection: Connection, surplus: int, claimed: int) -> None:
    """Takes back the latest proposals that have never been started, as many as the budget no longer holds."""
    if not surplus:
        return
    columns = schema.evaluation.c
    fresh = (columns.state == State.PROPOSED.value) & (columns.attempt == 0)
    query = select(columns.id).where(fresh).order_by(columns.id.desc()).limit(surplus)
    ids = list(connection.execute(query).scalars())
    if len(ids) < surplus:
        started = claimed - len(ids)
        raise UsageError(
            f"{started} evaluations have been started already: the budget cannot become {claimed - surplus}.",
            f"Type --max-evals {started} or more.",
        )
    now = time.time()
    connection.execute(update(schema.evaluation).where(columns.id.in_(ids)).values(state=State.CANCELLED.value))
    event = {"attempt": 0, "allocation": 0, "state": State.CANCELLED.value, "at": now}
    connection.execute(insert(schema.event), [{"evaluation": one, **event} for one in ids])
