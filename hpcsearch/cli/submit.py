"""``hpcsearch submit hps``: a new search."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from hpcsearch.cli import options


@click.group("submit")
def command() -> None:
    """Check a search, make its workflow and submit it.

    \b
    submit hps NAME -p problem.py -r model_run.py -n 4 -t 30 -q debug -A project -j serial
    """


@command.command("hps")
@click.argument("workflow", metavar="WF")
@click.option(
    "--problem", "-p", required=True, metavar="REF", help="The problem: problem.py, file.py:name or pkg.module:name."
)
@click.option("--run", "-r", required=True, metavar="REF", help="The run function, written in the same ways.")
@options.running(
    nodes={"required": True},
    time={"required": True},
    queue={"required": True},
    account={"default": "", "show_default": "none"},
    job_mode={"default": "serial", "show_default": True},
    chain={"default": 1, "show_default": True},
    evals_per_node={"default": 1, "show_default": True},
    slot_reuse={"default": "auto", "show_default": True},
    resumable={"default": False},
    bind={"default": True},
)
@click.option("--search", default="ambs", show_default=True, metavar="NAME", help="The strategy: ambs, random.")
@click.option(
    "--search-arg",
    "search_arguments",
    type=options.SearchArgument(),
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the strategy; may be repeated.",
)
@click.option("--seed", type=int, help="Makes a search with one slot reproducible.")
@click.option("--no-import", is_flag=True, help="Import nothing here: only look for the files and their names.")
@click.option(
    "--import-limit",
    "import_limit_s",
    type=float,
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long these two may take to be imported.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, print the job script and the command, submit nothing.")
@options.wait
@options.root
def hps(dry_run: bool, wait: bool, search_arguments: tuple[tuple[str, str], ...], **values: Any) -> int:
    """Submit a hyperparameter search under the name WF, which must not be taken."""
    from hpcsearch.submission.api import dry_run as try_out
    from hpcsearch.submission.api import submit_request
    from hpcsearch.submission.request import Request
    from hpcsearch.submission.steps import Steps

    request = Request(search_arguments=dict(search_arguments), **values)
    steps = Steps(sys.stdout)
    if dry_run:
        try_out(request, steps)
        return 0
    submitted = submit_request(request, steps)
    if wait:
        from hpcsearch.cli.waiting import wait_for

        return wait_for(submitted)
    next_steps(request.workflow, request.root)
    return 0


def next_steps(workflow: str, root: str | None) -> None:
    """Prints what to type next."""
    where = f" --root {shlex.quote(root)}" if root else ""
    click.echo(f"How it goes:       hpcsearch status {workflow}{where}")
    click.echo(f"What it has found: hpcsearch results {workflow} --top 3{where}")
    click.echo(f"To end it:         hpcsearch cancel {workflow}{where}")
