"""``hpcsearch resume``: another allocation for an existing workflow."""

from __future__ import annotations

import sys
from typing import Any

import click

from hpcsearch.cli import options
from hpcsearch.cli.running import running
from hpcsearch.cli.stopping import stopping


@click.command("resume")
@options.workflow
@running(new=False)
@stopping(new=False)
@options.wait
@options.root
def command(workflow: str, wait: bool, root: str | None, **values: Any) -> int:
    """Continue the workflow WF (a name or a path) from its database.

    What is not given stays as it was. Refused while an allocation of it still waits or runs, and when its search is
    done, unless --max-evals or --max-success gives it more. Both may be lowered, but not below what has been done.
    """
    from hpcsearch.cli.submit import next_steps
    from hpcsearch.submission.resume import Changes, resume
    from hpcsearch.submission.steps import Steps
    from hpcsearch.workflow.layout import find_layout

    submitted = resume(find_layout(workflow, root), Changes(**values), Steps(sys.stdout))
    if wait:
        from hpcsearch.submission.waiting import wait_for

        return wait_for(submitted)
    next_steps(workflow, root)
    return 0
