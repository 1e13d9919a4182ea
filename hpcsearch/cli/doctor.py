"""``hpcsearch doctor``: what a search needs on this machine."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("doctor")
@click.option("--site", metavar="SITE", help="The machine, when it is not recognised by itself.")
@options.root
def command(site: str | None, root: str | None) -> int:
    """Look at what a search needs here, and say what to do about what is missing.

    Ends with 1 when no search can run.
    """
    import os

    from hpcsearch.doctor import Verdict, examine
    from hpcsearch.workflow.layout import workflows_root

    worst = False
    for finding in examine(site, workflows_root(root), os.environ):
        click.echo(f"{finding.title + ':':14}{finding.verdict:8}{finding.text}")
        if finding.advice:
            click.echo(f"{'':22}{finding.advice}")
        worst |= finding.verdict is Verdict.FAILED
    return int(worst)
