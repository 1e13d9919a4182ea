"""Staying with an allocation until it has ended: beside it (``--wait``), or as what it lives and ends with."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from hpcsearch.errors import AllocationError, HpcsearchError
from hpcsearch.evaluation import NO_METRIC, State
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.monitor.text import number
from hpcsearch.monitor.watch import Ears
from hpcsearch.schedulers.result import read_exit_status
from hpcsearch.submission.api import Submitted
from hpcsearch.submission.notebook import Bar, Shown, in_notebook
from hpcsearch.workflow import lease
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.workflow import open_workflow

#: Between two looks at the database, and two lines where there is no terminal.
_LOOK_S = 0.25
_LINE_S = 5.0

#: How long the job script may take to write down its driver's exit code after the driver has given its lease back; and
#: how long the driver may take for that after it has recorded its end: it writes the file of arrays meanwhile.
_EXIT_STATUS_S, _LAST_FILES_S = 10.0, 120.0

Show = Callable[[Snapshot], None]


def wait_for(submitted: Submitted) -> int:
    """``see_through``; the search goes on without whoever does not wait any more."""
    try:
        return see_through(submitted)
    except KeyboardInterrupt:
        click.echo(f"The search goes on; end it with 'hpcsearch cancel {submitted.layout.typed}'.", err=True)
        raise


def see_through(submitted: Submitted) -> int:
    """Shows how allocations go until the last one has ended, or the search is done.

    Returns:
        0 when they ended as they should: the search is done, or goes on with the next allocation.

    Raises:
        AllocationError: one will never start, or the last one that ran died or could not go on.
        HpcsearchError: they ended, and not one evaluation has finished.
    """
    snapshot = _shown_until_ended(submitted)
    _judge(submitted, snapshot)
    if snapshot.finished_at is None:
        click.echo(f"The search is not done; it goes on with 'hpcsearch resume {submitted.layout.typed}'.")
    return 0


@contextmanager
def ended_with_this_process(submitted: Submitted) -> Iterator[None]:
    """Ends the search, in good order, when this process is told to end: by Ctrl-C, SIGTERM or its terminal's end."""
    # Those that are ignored stay so: that is what nohup asks for. Python leaves signals to its main thread
    ours = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    heard = [one for one in ours if signal.getsignal(one) is signal.SIG_DFL]
    for one in heard:
        signal.signal(one, signal.default_int_handler)
    try:
        yield
    except OSError:  # the terminal or the reader of a pipe is gone
        submitted.cancel(check=False)
        raise
    except KeyboardInterrupt as interrupt:
        # What was being read when it came would stay open as long as the exception, and keep the driver from recording.
        traceback.clear_frames(interrupt.__traceback__)
        submitted.cancel(check=False)
        click.echo("The search is told to end: what runs has a few seconds left.", err=True)
        if _shown_until_ended(submitted).finished_at is None:
            click.echo(f"It goes on from here with 'hpcsearch resume {submitted.layout.typed} --wait'.", err=True)
        raise
    finally:
        for one in heard:
            signal.signal(one, signal.SIG_DFL)


def _shown_until_ended(submitted: Submitted) -> Snapshot:
    with _display() as show:
        snapshot = _until_ended(submitted, show)
        show(snapshot)
    if not (isinstance(show, _Lines) and show.said(snapshot)):
        click.echo(_line(snapshot))
    return snapshot


def _until_ended(submitted: Submitted, show: Show) -> Snapshot:
    ears = Ears(submitted.layout)
    while True:
        snapshot = take_snapshot(submitted.layout, ears.heard())
        live = [allocation for allocation in _allocations(submitted, snapshot) if allocation.live]
        # A search that is done needs none of those that still wait; the driver takes them back
        if not live or (snapshot.finished_at is not None and all(one.started_at is None for one in live)):
            return snapshot
        _refuse_waiting_in_vain(snapshot, live[0])
        show(snapshot)
        time.sleep(_LOOK_S)


def _allocations(submitted: Submitted, snapshot: Snapshot) -> list[AllocationView]:
    return [one for one in snapshot.allocations if one.number in submitted.numbers]


def _refuse_waiting_in_vain(snapshot: Snapshot, allocation: AllocationView) -> None:
    if allocation.standing is Standing.QUEUED and not allocation.can_run:
        raise AllocationError(
            f"There is nothing to wait for: allocation {allocation.number} of {snapshot.name!r} is queued in vain. "
            f"{allocation.reason}",
            f"Type 'hpcsearch cancel {Layout(snapshot.directory).typed}'.",
        )


def _judge(submitted: Submitted, snapshot: Snapshot) -> None:
    allocations = _allocations(submitted, snapshot)
    # Of a chain, those behind the last one that ran were not needed any more, or were cancelled with it
    allocation = ([one for one in allocations if one.started_at is not None] or allocations)[-1]
    folder = submitted.layout.allocation(allocation.number)
    silent = allocation.standing in (Standing.DIED, Standing.CANCELLED)
    status = read_exit_status(folder) if silent else _exit_status(submitted.layout, allocation.number)
    if status != 0:
        how = f"with exit code {status}" if status else "without a word"
        raise AllocationError(
            f"Allocation {allocation.number} of {snapshot.name!r} ended {how}. {allocation.reason}".rstrip(),
            f"See {folder / 'stderr'} and {submitted.layout.log}; go on with "
            f"'hpcsearch resume {submitted.layout.typed}'.",
        )
    if snapshot.ended and not snapshot.counts.get(State.FINISHED):
        first = open_workflow(submitted.layout.root).records()[0].failure
        said = f" The first one said: {first.kind}: {first.message}" if first else ""
        raise HpcsearchError(
            f"None of the {snapshot.ended} evaluations of {snapshot.name!r} has finished.{said}",
            f"See {submitted.layout.results}.",
        )


def _exit_status(layout: Layout, allocation: int) -> int | None:
    began_s = held_s = time.monotonic()
    while True:
        status = read_exit_status(layout.allocation(allocation))
        now_s = time.monotonic()
        if now_s - began_s < _LAST_FILES_S and _holds(layout, allocation):
            held_s = now_s
        if status is not None or now_s - held_s > _EXIT_STATUS_S:
            return status
        time.sleep(0.05)


def _holds(layout: Layout, allocation: int) -> bool:
    """Whether an allocation's driver has the workflow's lease still."""
    with reading(layout.database) as connection:
        holder = lease.holder(connection)
    return holder.token is not None and holder.allocation == allocation


def _line(snapshot: Snapshot) -> str:
    of = "" if snapshot.max_evals is None else f" of {snapshot.max_evals}"
    return f"{snapshot.ended}{of} evaluations ended{_best(snapshot)}"


def _best(snapshot: Snapshot) -> str:
    best = snapshot.best
    if best is None or best.metadata.get(NO_METRIC):
        return ""
    return f", best {number(best.objective)} (evaluation {best.id})"


def _running(snapshot: Snapshot) -> str:
    return f"{snapshot.running} running{_best(snapshot)}"


@contextmanager
def _display() -> Iterator[Show]:
    """A bar on a terminal and in a notebook; elsewhere a line now and then."""
    if in_notebook():
        bar = Shown()
        yield lambda snapshot: bar.show(Bar(snapshot.ended, snapshot.max_evals, _running(snapshot)))
        return
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("waiting for the first result", total=None)

        def show(snapshot: Snapshot) -> None:
            progress.update(task, completed=snapshot.ended, total=snapshot.max_evals, description=_running(snapshot))

        yield show


class _Lines:
    def __init__(self) -> None:
        self._said: int | None = None
        self._line = ""
        self._next_s = 0.0

    def said(self, snapshot: Snapshot) -> bool:
        """Whether the last line was just this."""
        return self._line == _line(snapshot)

    def __call__(self, snapshot: Snapshot) -> None:
        now_s = time.monotonic()
        if self._said is None:  # what a resumed search had done before is no news
            self._said = snapshot.ended
        if snapshot.ended != self._said and now_s >= self._next_s:
            self._line = _line(snapshot)
            click.echo(self._line)
            self._said, self._next_s = snapshot.ended, now_s + _LINE_S
