"""Makes a workflow's directory and database, and the orders of an allocation."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Site
from hpcsearch.submission.request import Request
from hpcsearch.submission.validation import Checked
from hpcsearch.workflow import layout as layouts
from hpcsearch.workflow.layout import Layout

#: A driver commits at least this often; one that does not for two such periods may be taken over.
LEASE_PERIOD_S = 10.0

#: What an allocation takes over from the one before unless told otherwise; the rest of its facts are in its own row.
SETTINGS = ("evals_per_node", "eval_timeout_s", "resumable", "slot_reuse", "bind")


@contextmanager
def created(layout: Layout, request: Request, checked: Checked, site: Site, cwd: Path) -> Iterator[None]:
    """The workflow's directory with its first allocation, for as long as the block ends well.

    Raises:
        NameTakenError: the name is taken.
        DatabaseError: the directory or the database cannot be written.
    """
    identity: tuple[int, int] | None = None
    try:
        with layouts.new_directory(layout) as draft:
            identity = _identity(draft)
            _fill(draft, layout, request, checked, site, cwd)
        yield
    except BaseException:
        # By then somebody else's workflow may have the name: only what was made here goes.
        if identity is not None and _identity(layout) == identity:
            layouts.remove_directory(layout)
        raise


def _identity(layout: Layout) -> tuple[int, int] | None:
    try:
        status = layout.root.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _fill(draft: Layout, final: Layout, request: Request, checked: Checked, site: Site, cwd: Path) -> None:
    from hpcsearch.workflow import database, store

    engine = database.writer(draft.database, create=True)
    try:
        store.create(engine, _workflow_row(request, checked, cwd), LEASE_PERIOD_S, checked.design)
        store.add_allocation(engine, allocation_row(1, site, vars(request)))
    finally:
        engine.dispose()
    plan = make_plan(final, 1, site, checked.run, checked.names, cwd, vars(request))
    write_plan(draft, dataclasses.replace(plan, spares=checked.spares))


def _workflow_row(request: Request, checked: Checked, cwd: Path) -> dict[str, Any]:
    return {
        "name": request.workflow,
        "problem": checked.problem,
        "run": checked.run,
        "cwd": str(cwd),
        "names": json.dumps(list(checked.names)),
        "minimize": int(checked.minimize),
        "search": request.search,
        "search_arguments": json.dumps(dict(request.search_arguments)),
        "seed": request.seed,
        "max_evals": request.max_evals,
        "settings": json.dumps({name: getattr(request, name) for name in SETTINGS}),
    }


def allocation_row(number: int, site: Site, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an allocation from its facts by name."""
    names = ("queue", "account", "nodes", "walltime_s", "job_mode")
    return {"number": number, "site": site.name, "scheduler": site.scheduler, **{name: facts[name] for name in names}}


def make_plan(
    layout: Layout, number: int, site: Site, run: str, names: tuple[str, ...], cwd: Path, facts: Mapping[str, Any]
) -> Plan:
    """The orders of an allocation from its facts by name."""
    queue = site.queue(facts["queue"])
    node = queue.node if queue.node.cores else site.node
    return Plan(
        workflow=layout.name,
        directory=str(layout.root),
        allocation=number,
        site=site.name,
        run=run,
        names=names,
        cwd=str(cwd),
        job_mode=facts["job_mode"],
        nodes=facts["nodes"],
        walltime_s=facts["walltime_s"],
        launch=Launch(site.launcher.kind, site.launcher.agent_arguments),
        release=site.release != "none",
        cores=queue.cpus_per_node // node.threads_per_core or max(0, node.cores - len(node.reserved_cores)),
        reserved_cores=node.reserved_cores,
        gpu_order=node.gpu_order,
        gpu_variable=node.gpu_variable or Plan.gpu_variable,
        **{name: facts[name] for name in SETTINGS},
    )


def write_plan(layout: Layout, plan: Plan) -> None:
    """Puts the orders into the allocation's own folder, which is made for them."""
    file = layout.plan(plan.allocation)
    file.parent.mkdir(mode=0o700, parents=True)
    plan.save(file)


def make_request(layout: Layout, number: int, site: Site, cwd: Path, facts: Mapping[str, Any]) -> AllocationRequest:
    """What the scheduler is asked for, from an allocation's facts by name."""
    return AllocationRequest(
        workflow=layout.name,
        directory=layout.root,
        number=number,
        folder=layout.allocation(number),
        site=site,
        queue=facts["queue"],
        account=facts["account"],
        nodes=facts["nodes"],
        walltime_s=facts["walltime_s"],
        job_mode=facts["job_mode"],
        python=sys.executable,
        cwd=cwd,
        job_name=layout.name,
    )
