"""Submitting a search: the steps in their order."""

from __future__ import annotations

import contextlib
import importlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcsearch import schedulers
from hpcsearch.search.arguments import check_arguments
from hpcsearch.search.registry import STRATEGY, find
from hpcsearch.sites import Site, limits
from hpcsearch.sites.find import find_site
from hpcsearch.submission.announcing import announce, say_dropped
from hpcsearch.submission.chain import BUSY_TIMEOUT_S, check_chain, follow, withdraw
from hpcsearch.submission.creating import Orders, created, moved
from hpcsearch.submission.names import look_up
from hpcsearch.submission.ranks import refuse_missing_library, started_by_mpi
from hpcsearch.submission.request import Request
from hpcsearch.submission.size import Confirm, announce_size, confirm_size
from hpcsearch.submission.smoke import refuse_impossible, tried_here, try_out
from hpcsearch.submission.steps import Steps
from hpcsearch.submission.stopping import located, refuse_stopper
from hpcsearch.submission.validation import Checked, Validation
from hpcsearch.workflow.layout import Layout, refuse_taken, workflows_root

if TYPE_CHECKING:
    from hpcsearch.schedulers.jobs import AllocationJob
    from hpcsearch.workflow.workflow import Workflow

#: What takes time to import and is needed behind the checks: imported while these run in their own processes.
_NEEDED_LATER = ("hpcsearch.workflow.store", "hpcsearch.workflow.database", "hpcsearch.sites.render", "submitit")


@dataclass(frozen=True)
class Submitted:
    """Submitted allocations, with all that submitit's Job has: ``job_id``, ``done()``, ``wait()``, ``result()``.

    Of a chain, ``done()``, ``wait()`` and ``cancel()`` mean all allocations, and everything else means the first one.
    """

    jobs: tuple[AllocationJob, ...]
    site: Site
    layout: Layout
    number: int  # of the first allocation; those that follow it count on

    @property
    def numbers(self) -> range:
        """The numbers of the allocations."""
        return range(self.number, self.number + len(self.jobs))

    @property
    def workflow(self) -> Workflow:
        """The workflow that they work on."""
        from hpcsearch.workflow.workflow import open_workflow

        return open_workflow(self.layout.root)

    def done(self, force_check: bool = False) -> bool:
        return all(job.done(force_check) for job in self.jobs)

    def wait(self) -> None:
        for job in self.jobs:
            job.wait()

    def cancel(self, check: bool = True) -> None:
        for number, job in reversed(list(zip(self.numbers, self.jobs, strict=True))):
            job.cancel(check)
            with contextlib.suppress(OSError):  # no space for it: then its end is known by the scheduler's word alone
                self.layout.cancelled(number).touch()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.jobs[0], name)


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


def submit_request(request: Request, steps: Steps, confirm: Confirm | None = None) -> Submitted:
    """Takes a request through all steps; ``confirm`` asks the user where there is one to be asked.

    Raises:
        HpcsearchError: it was refused; then nothing is left of it.
    """
    from hpcsearch.sites.render import render_job_script

    layout, site = refuse_early(request)
    orders, checked = _orders(request, layout, site, steps)
    first = orders.request(1)  # which is refused where a path cannot be written down
    confirm_size(request, checked.planned, confirm)
    if request.smoke and tried_here(request, site):
        try_out(request, checked, orders.cwd, steps)
    with contextlib.ExitStack() as undo:
        with steps.step("Creating workflow database"):
            undo.enter_context(created(orders, request, moved(checked, request, layout)))
        with steps.step(f"Creating HPS({request.search.upper()}) workflow"):
            script = render_job_script(first)
        with steps.step("Performing job submission"):
            jobs = _start(orders, first, script, request.chain)
    announce(steps, first, jobs, "run")
    return Submitted(jobs, site, layout, first.number)


def dry_run(request: Request, steps: Steps) -> None:
    """Checks all that a submission checks, prints the job script and the command, and leaves nothing."""
    from hpcsearch.sites.render import render_job_script

    layout, site = refuse_early(request)
    orders, _ = _orders(request, layout, site, steps)
    first = orders.request(1)
    steps.say(f"\nThe job script, {first.script}:\n\n{render_job_script(first)}")
    steps.say(f"The command: {shlex.join(schedulers.submission_argv(first))}")
    if request.chain > 1:
        steps.say(f"Then {request.chain - 1} more like it, each of which begins when the one before has ended.")
    say_dropped(steps, first)
    steps.say("Nothing was submitted (--dry-run).")


def _orders(request: Request, layout: Layout, site: Site, steps: Steps) -> tuple[Orders, Checked]:
    cwd = Path.cwd()
    checked = validate(request, cwd, steps)
    announce_size(request, checked.planned, steps)
    own = {
        "smoke": request.smoke and not tried_here(request, site),
        "stopper": located(request.stopper, cwd),
        "sized": checked.sized,
        "data_parallel": None if started_by_mpi(request) else request.data_parallel,
    }
    facts = {**vars(request), **own}
    return Orders(layout, site, moved(checked, request, layout).run, checked.names, cwd, facts), checked


def refuse_early(request: Request) -> tuple[Layout, Site]:
    """What can be said against a request without running anything.

    Raises:
        NameTakenError: the workflow exists.
        UsageError: a value cannot be meant, or the site's queue does not take the request.
        SiteError: the site is unknown or its file is wrong.
    """
    request.check()
    refuse_stopper(request)
    layout = Layout(workflows_root(request.root) / request.workflow)
    refuse_taken(layout)
    site = find_site(request.site, queue=request.queue)
    limits.check_request(site, request.queue, request.nodes, request.walltime_s, request.account)
    limits.check_slots(site, request.queue, request.evals_per_node, request.bind)
    limits.check_ranks(site, request.queue, vars(request))
    check_chain(site, request.queue, request.chain)
    refuse_impossible(request, site)
    refuse_missing_library(request)
    return layout, site


def validate(request: Request, cwd: Path, steps: Steps) -> Checked:
    """Checks the user's files; raises LoadError, ProblemError, SearchError."""
    if request.no_import:
        with steps.step("Validating Problem (names only)"):
            problem = look_up(request.problem, "Problem", cwd)
        with steps.step("Validating run (names only)"):
            run = look_up(request.run, "run", cwd)
        if not request.search.partition(":")[0].endswith(".py"):  # one of the user's own is imported by nobody here
            check_arguments(STRATEGY, request.search, find(request.search), request.search_arguments)
        return Checked(problem, run, (), False, ())
    with Validation(request, cwd) as children:
        with steps.step("Validating Problem"):
            for module in _NEEDED_LATER:
                importlib.import_module(module)
            known = children.problem()
        with steps.step("Validating run"):
            run_known = children.run()
    return Checked(
        known["reference"],
        run_known["reference"],
        tuple(known["names"]),
        known["minimize"],
        tuple(known["design"]),
        tuple(known["spares"]),
        known["planned"],
        run_known["sized"],
    )


def _start(orders: Orders, first: schedulers.AllocationRequest, script: str, chain: int) -> tuple[AllocationJob, ...]:
    from hpcsearch.workflow import database, store

    jobs = [schedulers.submit(first, script)]
    try:
        engine = database.writer(orders.layout.database, busy_timeout_s=BUSY_TIMEOUT_S)
        try:
            with database.writing(orders.layout.database):
                store.update_allocation(engine, first.number, scheduler_id=jobs[0].job_id)
        finally:
            engine.dispose()
        for job in follow(orders, first.number, chain, jobs[0]):
            jobs.append(job)  # one by one: what has been submitted is withdrawn when the next one is refused
    except BaseException:
        withdraw(orders.layout, jobs)
        raise
    return tuple(jobs)
