"""Submitting a search: the steps in their order."""

from __future__ import annotations

import contextlib
import importlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsearch import schedulers
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.submission.creating import created, make_request
from hpcsearch.submission.names import look_up
from hpcsearch.submission.request import Request
from hpcsearch.submission.steps import Steps, banner, facts_block
from hpcsearch.submission.validation import Checked, Validation
from hpcsearch.workflow.layout import Layout, refuse_taken, workflows_root

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob
    from hpcsearch.workflow.workflow import Workflow

#: What takes time to import and is needed behind the checks: imported while these run in their own processes.
_NEEDED_LATER = ("hpcsearch.workflow.store", "hpcsearch.workflow.database", "hpcsearch.sites.render", "submitit")


@dataclass(frozen=True)
class Submitted:
    """A submitted allocation, with all that submitit's Job has: ``job_id``, ``done()``, ``wait()``, ``result()``."""

    job: AllocationJob
    site: Site
    layout: Layout
    number: int

    @property
    def workflow(self) -> Workflow:
        """The workflow that it works on."""
        from hpcsearch.workflow.workflow import open_workflow

        return open_workflow(self.layout.root)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.job, name)


def submit(
    workflow: str,
    problem: str,
    run: str,
    *,
    nodes: int = 1,
    walltime_s: int = 3600,
    queue: str = "local",
    account: str = "none",
    **options: Any,
) -> Submitted:
    """Submits a search and returns at once; the same as ``hpcsearch submit hps``, which has the same options.

    Args:
        workflow: a name that is not taken yet.
        problem: where the problem is: ``problem.py``, ``file.py:name``, ``pkg.module:name``.
        run: where the run function is, written the same way.
        nodes: how many nodes.
        walltime_s: for how long, in seconds.
        queue: the site's queue.
        account: whom it is charged to.
        options: the other fields of :class:`hpcsearch.submission.Request`, such as ``max_evals`` or ``evals_per_node``.

    Raises:
        HpcsearchError: it was refused, by us or by the scheduler; then nothing is left of it.
    """
    request = Request(workflow, problem, run, nodes, walltime_s, queue, account, **options)
    return submit_request(request, Steps(None))


def submit_request(request: Request, steps: Steps) -> Submitted:
    """Takes a request through all steps; raises HpcsearchError, and then nothing is left of it."""
    cwd = Path.cwd()
    layout, site = refuse_early(request)
    checked = validate(request, cwd, steps)
    with contextlib.ExitStack() as undo:
        with steps.step("Creating workflow database"):
            undo.enter_context(created(layout, request, checked, site, cwd))
        with steps.step(f"Creating HPS({request.search.upper()}) workflow"):
            allocation, script = _job(layout, site, cwd, request)
        with steps.step("Performing job submission"):
            job = _start(allocation, script, layout)
    steps.say(facts_block(facts(allocation, job.job_id)))
    steps.say(banner(f"Success. The search will run at: {layout.root}"))
    return Submitted(job, site, layout, allocation.number)


def dry_run(request: Request, steps: Steps) -> None:
    """Checks all that a submission checks, prints the job script and the command, and leaves nothing."""
    cwd = Path.cwd()
    layout, site = refuse_early(request)
    validate(request, cwd, steps)
    allocation, script = _job(layout, site, cwd, request)
    steps.say(f"\nThe job script, {allocation.script}:\n\n{script}")
    steps.say(f"The command: {shlex.join(schedulers.submission_argv(allocation))}")
    steps.say("Nothing was submitted (--dry-run).")


def refuse_early(request: Request) -> tuple[Layout, Site]:
    """What can be said against a request without running anything.

    Raises:
        NameTakenError: the workflow exists.
        UsageError: a value cannot be meant, or the site's queue does not take the request.
        SiteError: the site is unknown or its file is wrong.
    """
    request.check()
    layout = Layout(workflows_root(request.root) / request.workflow)
    refuse_taken(layout)
    site = find_site(request.site, queue=request.queue)
    site.check_request(request.queue, request.nodes, request.walltime_s, request.account)
    return layout, site


def validate(request: Request, cwd: Path, steps: Steps) -> Checked:
    """Checks the user's files; raises LoadError, ProblemError, SearchError."""
    if request.no_import:
        with steps.step("Validating Problem (names only)"):
            problem = look_up(request.problem, "Problem", cwd)
        with steps.step("Validating run (names only)"):
            run = look_up(request.run, "run", cwd)
        return Checked(problem, run, (), False, ())
    with Validation(request, cwd) as children:
        with steps.step("Validating Problem"):
            for module in _NEEDED_LATER:
                importlib.import_module(module)
            known = children.problem()
        with steps.step("Validating run"):
            run_reference = children.run()["reference"]
    return Checked(
        known["reference"],
        run_reference,
        tuple(known["names"]),
        known["minimize"],
        tuple(known["design"]),
        tuple(known["spares"]),
    )


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


def _job(layout: Layout, site: Site, cwd: Path, request: Request) -> tuple[schedulers.AllocationRequest, str]:
    from hpcsearch.sites.render import render_job_script

    allocation = make_request(layout, 1, site, cwd, vars(request))
    return allocation, render_job_script(allocation)


def _start(allocation: schedulers.AllocationRequest, script: str, layout: Layout) -> AllocationJob:
    from hpcsearch.workflow import database, store

    job = schedulers.submit(allocation, script)
    try:
        engine = database.writer(layout.database)
        try:
            store.update_allocation(engine, allocation.number, scheduler_id=job.job_id)
        finally:
            engine.dispose()
    except BaseException:
        schedulers.cancel(allocation.site, job.job_id)
        raise
    return job
