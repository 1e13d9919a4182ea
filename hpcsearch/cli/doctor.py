"""``hpcsearch doctor``: what a search needs on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from hpcsearch.cli import options
from hpcsearch.cli.running import running

if TYPE_CHECKING:
    from hpcsearch.doctor.finding import Finding


@click.command("doctor")
@click.option("--site", metavar="SITE", help="The machine, when it is not recognised by itself.")
@click.option(
    "--on-compute",
    is_flag=True,
    help="Submit a small allocation that tries launcher, MPI library and binding on its nodes, and wait for it.",
)
@running(
    *("nodes", "time", "queue", "account", "ranks_per_node"),
    new=False,
    nodes={"default": 2, "show_default": True},
    time={"default": 300, "show_default": "5 minutes"},
    account={"default": ""},
    ranks_per_node={"default": 2, "show_default": True},
)
@options.root
def command(site: str | None, root: str | None, on_compute: bool, **asked: Any) -> int:
    """Look at what a search needs here, and say what to do about what is missing.

    Ends with 1 when no search can run. With --on-compute the nodes of a queue are looked at instead (-n, -t, -q, -A).
    """
    if on_compute:
        return _on_compute(site, root, asked)
    import os

    from hpcsearch.doctor import examine
    from hpcsearch.workflow.layout import workflows_root

    return _show(examine(site, workflows_root(root), os.environ))


def _on_compute(site: str | None, root: str | None, asked: dict[str, Any]) -> int:
    from hpcsearch.doctor.compute import HEADER, Trial, judged, rows, try_nodes
    from hpcsearch.errors import UsageError
    from hpcsearch.monitor.text import print_table
    from hpcsearch.submission.waiting import see_through
    from hpcsearch.workflow.layout import remove_directory

    if not asked["queue"]:
        raise UsageError("--on-compute needs a queue.", "Type -q and its name; 'hpcsearch site show' lists them.")
    trial = Trial(site, root, **asked)
    submitted = try_nodes(trial)
    try:
        click.echo(f"Trying {trial.nodes} node(s) of queue {trial.queue}, job {submitted.job_id}:")
        see_through(submitted)
        (record,) = submitted.workflow.records()
        print_table(HEADER, rows(record.metadata["ranks"]))
        click.echo()
        return _show(judged(record, trial))
    except KeyboardInterrupt:
        submitted.cancel(check=False)
        raise
    finally:
        if submitted.done():
            remove_directory(submitted.layout)


def _show(findings: Iterable[Finding]) -> int:
    """Prints what was found; gives the exit code."""
    from hpcsearch.doctor.finding import Verdict

    worst = False
    for finding in findings:
        click.echo(f"{finding.title + ':':14}{finding.verdict:8}{finding.text}")
        if finding.advice:
            click.echo(f"{'':22}{finding.advice}")
        worst |= finding.verdict is Verdict.FAILED
    return int(worst)
