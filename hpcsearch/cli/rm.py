"""``hpcsearch rm``: removes a workflow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hpcsearch.cli import options

if TYPE_CHECKING:
    from hpcsearch.monitor.snapshot import Snapshot
    from hpcsearch.workflow.layout import Layout

#: No submission takes so long: one that has no id of the scheduler by then was cut off (seconds).
_SUBMISSION_S = 600.0


@click.command("rm")
@options.workflow
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.root
def command(workflow: str, yes: bool, root: str | None) -> int:
    """Remove the workflow WF (a name or a path) with all its results, for good.

    Refused while an allocation of it is queued or running.
    """
    from hpcsearch.errors import DatabaseError, UsageError
    from hpcsearch.workflow.layout import find_layout, remove_directory

    layout = find_layout(workflow, root)
    if layout.root.is_symlink():
        target = layout.root.readlink()
        raise UsageError(
            f"{layout.root} is a link to {target}, and rm follows no links.",
            f"Type 'hpcsearch rm {layout.root.resolve()}', then 'rm {layout.root}'.",
        )
    snapshot = _at_rest(layout)
    if not yes:
        if not _agreed(snapshot):
            click.echo("Nothing was removed.")
            return 1
        _at_rest(layout)  # the answer may have taken its time
    try:
        rest = remove_directory(layout)
    except OSError as error:
        raise DatabaseError(
            f"{layout.root} cannot be removed: {error.strerror}.",
            "Check that you may write to the folder that it is in.",
        ) from None
    click.echo(f"Removed {layout.name!r}.")
    if rest is not None:
        raise DatabaseError(
            f"{layout.name!r} is gone, but some of its files could not be deleted; they are in {rest}.",
            f"See what is in the way, then type 'rm -r {rest}'.",
        )
    return 0


def _at_rest(layout: Layout) -> Snapshot:
    """The workflow as it stands; raises UsageError when an allocation may work on it."""
    from hpcsearch.errors import DatabaseError, UsageError
    from hpcsearch.monitor.allocations import Standing
    from hpcsearch.monitor.snapshot import take_snapshot

    try:
        snapshot = take_snapshot(layout)
    except DatabaseError as error:
        raise DatabaseError(
            f"{error.message} So it cannot be told whether an allocation works on {layout.name!r}.",
            f"If none does, type 'rm -r {layout.root}'.",
        ) from None
    for allocation in snapshot.live:
        if allocation.scheduler_id is None and snapshot.taken_at - allocation.submitted_at > _SUBMISSION_S:
            continue
        told = allocation.standing is Standing.CANCELLING
        raise UsageError(
            f"Allocation {allocation.number} of {layout.name!r} is {allocation.standing}, so it cannot be removed.",
            "Wait until it has ended, and try again."
            if told
            else f"Type 'hpcsearch cancel {layout.typed}', wait until it has ended, and try again.",
        )
    return snapshot


def _agreed(snapshot: Snapshot) -> bool:
    from hpcsearch.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("rm asks before it removes, and there is no terminal to ask at.", "Add --yes to remove it.")
    what = f"{snapshot.name!r} with {snapshot.ended} ended evaluations, {snapshot.directory}"
    return click.confirm(f"Remove {what}, for good?", err=True)
