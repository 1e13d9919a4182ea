"""Makes a workflow's directory and database, and the orders of an allocation."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.evaluation import Configuration
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Site
from hpcsearch.submission.request import Request
from hpcsearch.submission.validation import Checked
from hpcsearch.workflow import layout as layouts
from hpcsearch.workflow.layout import Layout

#: A driver commits at least this often; one that does not for two such periods may be taken over.
LEASE_PERIOD_S = 10.0

#: What an allocation takes over from the one before unless told otherwise; the rest of its facts are in its own row.
SETTINGS = (
    "evals_per_node",
    "nodes_per_eval",
    "ranks_per_node",
    "threads_per_rank",
    "gpus_per_rank",
    "data_parallel",
    "num_ps",
    "sized",
    "eval_timeout_s",
    "max_success",
    "max_attempts",
    "retry_failed",
    "resumable",
    "slot_reuse",
    "bind",
    "stopper",
    "stopper_arguments",
    "stopper_metric",
    "stopping",
    "stop_grace_s",
    "stop_margin_s",
    "smoke",
)


@dataclass(frozen=True)
class Orders:
    """What the allocations of one submission share; ``facts`` are their queue, nodes, settings and so on by name."""

    layout: Layout
    site: Site
    run: str
    names: tuple[str, ...]
    cwd: Path
    facts: Mapping[str, Any]

    def row(self, number: int) -> dict[str, Any]:
        """An allocation's row in the database."""
        site, names = self.site, ("queue", "account", "nodes", "walltime_s", "job_mode")
        own = {"number": number, "site": site.name, "scheduler": site.scheduler}
        return {**own, **{name: self.facts[name] for name in names}}

    def plan(self, number: int, spares: tuple[Configuration, ...] = ()) -> Plan:
        """The orders of an allocation's driver."""
        site, facts = self.site, self.facts
        queue = site.queue(facts["queue"])
        node = site.node_of(queue)
        return Plan(
            workflow=self.layout.name,
            directory=str(self.layout.root),
            allocation=number,
            site=site.name,
            run=self.run,
            names=self.names,
            cwd=str(self.cwd),
            job_mode=facts["job_mode"],
            nodes=facts["nodes"],
            walltime_s=facts["walltime_s"],
            launch=Launch(site.launcher.kind, site.launcher.agent_arguments, site.launcher.program),
            mpi=Launch(
                site.launcher.mpi_kind or site.launcher.kind,
                site.launcher.mpi_arguments,
                site.launcher.mpi_program or site.launcher.program,
            ),
            launches_per_s=site.launcher.launches_per_s,
            max_launches=site.launcher.max_launches,
            release=site.release != "none",
            cores=queue.cpus_per_node // node.threads_per_core or max(0, node.cores - len(node.reserved_cores)),
            reserved_cores=node.reserved_cores,
            gpu_order=node.gpu_order,
            gpu_variable=node.gpu_variable or Plan.gpu_variable,
            grace_s=_grace_s(site),
            spares=spares,
            **{name: facts[name] for name in SETTINGS},
        )

    def request(self, number: int, after: str = "") -> AllocationRequest:
        """What the scheduler is asked for; ``after`` is the scheduler's id of the allocation that has to end first."""
        facts = self.facts
        return AllocationRequest(
            workflow=self.layout.name,
            directory=self.layout.root,
            number=number,
            folder=self.layout.allocation(number),
            site=self.site,
            queue=facts["queue"],
            account=facts["account"],
            nodes=facts["nodes"],
            walltime_s=facts["walltime_s"],
            job_mode=facts["job_mode"],
            python=sys.executable,
            cwd=self.cwd,
            job_name=self.layout.name,
            after=after,
        )


def moved(checked: Checked, request: Request, layout: Layout) -> Checked:
    """``checked`` with its references to files in the request's ``source`` where these will be."""
    if request.source is None:
        return checked
    before, after = os.path.join(os.path.abspath(request.source), ""), f"{layout.source}/"  # noqa: PTH100, PTH118
    places = {
        name: after + reference.removeprefix(before)
        for name in ("problem", "run")
        if (reference := getattr(checked, name)).startswith(before)
    }
    return dataclasses.replace(checked, **places)


def _grace_s(site: Site) -> float:
    """What a driver keeps free at the end: what the site says where it says something of its own."""
    return Plan.grace_s if site.drain_margin_s == Site.drain_margin_s else float(site.drain_margin_s)


@contextmanager
def created(orders: Orders, request: Request, checked: Checked) -> Iterator[None]:
    """The workflow's directory with its first allocation, for as long as the block ends well.

    Raises:
        NameTakenError: the name is taken.
        DatabaseError: the directory or the database cannot be written.
    """
    layout = orders.layout
    identity: tuple[int, int] | None = None
    try:
        with layouts.new_directory(layout) as draft:
            identity = _identity(draft)
            _fill(draft, orders, request, checked)
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


def _fill(draft: Layout, orders: Orders, request: Request, checked: Checked) -> None:
    from hpcsearch.workflow import database, store

    if request.source is not None:
        shutil.copytree(request.source, draft.source)
    engine = database.writer(draft.database, create=True)
    try:
        with database.writing(draft.database):
            store.create(engine, _workflow_row(request, checked, orders), LEASE_PERIOD_S, checked.design)
            store.add_allocation(engine, orders.row(1))
    finally:
        engine.dispose()
    write_plan(draft, orders.plan(1, checked.spares))


def _workflow_row(request: Request, checked: Checked, orders: Orders) -> dict[str, Any]:
    return {
        "name": request.workflow,
        "problem": checked.problem,
        "run": checked.run,
        "cwd": str(orders.cwd),
        "names": json.dumps(list(checked.names)),
        "minimize": int(checked.minimize),
        "search": request.search,
        "search_arguments": json.dumps(dict(request.search_arguments)),
        "seed": request.seed,
        "max_evals": request.max_evals,
        "settings": json.dumps({name: orders.facts[name] for name in SETTINGS}),
    }


def write_plan(layout: Layout, plan: Plan) -> None:
    """Puts the orders into the allocation's own folder, which is made for them."""
    file = layout.plan(plan.allocation)
    file.parent.mkdir(mode=0o700, parents=True)
    plan.save(file)
