"""``hpcsearch submit hps``: a new search."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from hpcsearch.cli import options, script
from hpcsearch.cli.running import running
from hpcsearch.cli.stopping import stopping

if TYPE_CHECKING:
    from hpcsearch.submission.request import Request
    from hpcsearch.submission.steps import Steps


_SEARCH = "The strategy: ambs, grid, random, ... Of several objectives ambs goes by all, others by the first or none."


@click.group("submit")
def command() -> None:
    """Check a search, make its workflow and submit it.

    \b
    submit hps NAME -p problem.py -r model_run.py -n 4 -t 30 -q debug -A project -j serial
    submit script NAME -n 4 -t 30 -q debug -A project --hyperparam lr=0.01:0.01:0.1 train.py
    """


command.add_command(script.command)


@command.command("hps", short_help="Submit a hyperparameter search.")
@click.argument("workflow", metavar="WF")
@options.problem
@options.run
@running(new=True)
@options.data_parallel
@options.num_ps
@click.option("--search", default="ambs", show_default=True, metavar="NAME", help=_SEARCH)
@options.search_argument
@stopping(new=True)
@options.seed
@click.option("--no-import", is_flag=True, help="Import nothing here: only look for the files and their names.")
@options.import_limit
@options.smoke
@options.yes
@click.option("--dry-run", is_flag=True, help="Check everything, print the job script and the command, submit nothing.")
@options.wait
@options.root
def hps(dry_run: bool, wait: bool, search_arguments: tuple[tuple[str, str], ...], **values: Any) -> int:
    """Submit a hyperparameter search under the name WF, which must not be taken.

    Where WF is named like a folder with problem.py and model_run.py, --problem and --run may be left out.
    """
    from hpcsearch.cli.defaults import notes
    from hpcsearch.project import find_problem
    from hpcsearch.submission.request import Request
    from hpcsearch.submission.steps import Steps

    found = find_problem(values["workflow"], values.pop("problem"), values.pop("run"))
    request = Request(problem=found.problem, run=found.run, search_arguments=dict(search_arguments), **values)
    steps = Steps(sys.stdout)
    for note in notes(click.get_current_context()):
        steps.say(note)
    if found.sentence:
        steps.say(found.sentence)
    return go(request, steps, dry_run, wait)


def go(request: Request, steps: Steps, dry_run: bool, wait: bool) -> int:
    """Submits a request, or shows what would be submitted; returns the exit code."""
    from hpcsearch.submission.api import dry_run as try_out
    from hpcsearch.submission.api import submit_request

    if dry_run:
        try_out(request, steps)
        return 0
    submitted = submit_request(request, steps, options.confirm_on_terminal())
    if wait:
        from hpcsearch.submission.waiting import wait_for

        return wait_for(submitted)
    next_steps(request.workflow, request.root)
    return 0


def next_steps(workflow: str, root: str | None) -> None:
    """Prints what to type next."""
    where = f" --root {shlex.quote(root)}" if root else ""
    click.echo(f"How it goes:       hpcsearch status {workflow}{where}")
    click.echo(f"What it has found: hpcsearch results {workflow} --top 3{where}")
    click.echo(f"To end it:         hpcsearch cancel {workflow}{where}")
