"""``hpcsearch hps``: a search on this machine, in the foreground."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcsearch.cli import options
from hpcsearch.cli.running import running
from hpcsearch.cli.stopping import stopping

if TYPE_CHECKING:
    from hpcsearch.submission.request import Request

#: What evaluates, by the names under which people know it.
_EVALUATORS = {
    "local": "",
    "ray": "--evaluator ray: Ray is not used; hpcsearch runs evaluations on this machine by itself, as with local.",
}

_LONGEST_S = 30 * 24 * 3600


@click.command("hps")
@click.argument("search", metavar="SEARCH")
@click.argument("workflow", metavar="[WF]", required=False)
@options.problem
@options.run
@click.option(
    "--evaluator",
    type=click.Choice(list(_EVALUATORS)),
    default="local",
    show_default=True,
    help="What runs evaluations: this machine, whichever of the two is typed.",
)
@click.option(
    "--num-workers",
    "evals_per_node",
    type=options.Count(),
    default=1,
    show_default=True,
    metavar="K",
    help="How many evaluations run at once.",
)
@running(
    *("time", "max_evals", "max_success", "max_attempts", "retry_failed", "eval_timeout", "resumable", "slot_reuse"),
    new=True,
    time={"default": _LONGEST_S, "show_default": "30 days"},
)
@options.search_argument
@stopping(new=True)
@options.seed
@options.import_limit
@options.smoke
@options.yes
@options.root
def command(
    search: str,
    workflow: str | None,
    problem: str | None,
    run: str | None,
    evaluator: str,
    search_arguments: tuple[tuple[str, str], ...],
    root: str | None,
    **values: Any,
) -> int:
    """Search on this machine until it is done, with the strategy SEARCH: ambs, grid, random, ...

    \b
    hpcsearch hps ambs --num-workers 2 --max-evals 50 --problem problem.py --run model_run.py

    The workflow is called WF, else like the strategy. Where WF is named like a folder with problem.py and model_run.py,
    --problem and --run may be left out. results.csv and hpcsearch.log appear in the current folder. Ctrl-C ends the
    search; 'hpcsearch resume' goes on with it.
    """
    from hpcsearch.cli.links import make_links, refuse_in_the_way
    from hpcsearch.project import find_problem
    from hpcsearch.search.registry import check_name
    from hpcsearch.submission.api import submit_request
    from hpcsearch.submission.steps import Steps
    from hpcsearch.submission.waiting import ended_with_this_process, see_through
    from hpcsearch.workflow.layout import Layout, workflows_root

    cwd = Path.cwd()
    check_name(search)  # first of all: whoever leaves it out has typed something else in its place
    found = find_problem(workflow, problem, run)
    workflows = workflows_root(root)
    shared = _shared_cores(values["evals_per_node"])
    values |= {"search": search, "search_arguments": dict(search_arguments), "root": root, "bind": not shared}
    request = _here(workflow or _free_name(workflows, search), found.problem, found.run, values)
    layout = Layout(workflows / request.workflow)
    refuse_in_the_way(layout, cwd)
    steps = Steps(sys.stdout)
    for sentence in filter(None, (_EVALUATORS[evaluator], found.sentence, shared)):
        steps.say(sentence)
    submitted = submit_request(request, steps, options.confirm_on_terminal())
    with ended_with_this_process(submitted):
        steps.say(make_links(layout, cwd))
        return see_through(submitted)


def _here(workflow: str, problem: str, run: str, values: Mapping[str, Any]) -> Request:
    """A request for an allocation of this machine."""
    from hpcsearch.submission.request import Request

    return Request(workflow, problem, run, nodes=1, queue="local", account="none", site="local", **values)


def _shared_cores(workers: int) -> str:
    """A sentence where there are more workers than cores, so that none can have some of its own; else empty."""
    cores = len(os.sched_getaffinity(0))
    return "" if workers <= cores else f"{workers} workers share the {cores} cores of this machine."


def _free_name(workflows: Path, search: str) -> str:
    """The strategy's name, with a number behind it when it is taken."""
    from hpcsearch.workflow.layout import free_name

    stem = Path(search.rpartition(":")[0] or search).stem
    return free_name(workflows, re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:90] or "search")
