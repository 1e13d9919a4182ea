"""What ``hpcsearch monitor`` says of a workflow, as lines: the same on a terminal and where there is none."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator

from hpcsearch.evaluation import State
from hpcsearch.monitor import pace, text
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.monitor.view import state_of
from hpcsearch.monitor.watch import Picture
from hpcsearch.sites.duration import format_duration

#: The bar that fills as the budget is spent (characters).
_BAR = 20
#: So many allocations are shown; of those that have ended the last one, where there are no others.
_SHOWN = 2

_SECONDS_A_DAY = 86400.0


def title(picture: Picture) -> str:
    """``poly: running. ambs, maximises.``"""
    snapshot = picture.snapshot
    goal = "minimises" if snapshot.minimize else "maximises"
    why = f" ({snapshot.outcome})" if snapshot.outcome else ""
    return f"{snapshot.name}: {state_of(snapshot)}{why}. {snapshot.search}, {goal}"


def facts(picture: Picture) -> list[tuple[str, str]]:
    """Names and values: allocations, progress, pace and end, the best."""
    return [
        *(("Allocation" if number == 0 else "", line) for number, line in enumerate(_allocations(picture))),
        ("Progress", progress(picture)),
        ("Pace", ending(picture)),
        ("Best", best(picture)),
    ]


#: A value takes so many lines, the rest of it is left out.
_LINES = 2
_NAME = 11


def fact_lines(picture: Picture, width: int) -> list[str]:
    """The same in lines of that width."""
    lines: list[str] = []
    for name, value in facts(picture):
        wrapped = textwrap.wrap(text.printable(value), width - _NAME, max_lines=_LINES, placeholder=" …")
        lines += [f"{name if number == 0 else '':{_NAME}}{line}" for number, line in enumerate(wrapped)]
    return lines


def _allocations(picture: Picture) -> Iterator[str]:
    snapshot = picture.snapshot
    live = snapshot.live
    for one in live[:_SHOWN]:
        yield allocation(one)
    if len(live) > _SHOWN:
        yield f"and {len(live) - _SHOWN} more that wait"
    if not live:
        yield "none" if snapshot.last is None else allocation(snapshot.last)


#: The words of an allocation that runs say nothing that its state does not.
_SAYS_NOTHING = ("It runs.", "It runs here")


def allocation(one: AllocationView) -> str:
    """``2 (4711, 4 nodes of batch) queued: It waits behind jobs of higher priority.``"""
    nodes = "1 node" if one.nodes == 1 else f"{one.nodes} nodes"
    what = ", ".join(filter(None, (one.scheduler_id, f"{nodes} of {one.queue}")))
    told = [f"{one.standing.value}"]
    if one.time_left_s is not None:
        told.append(f"{format_duration(int(one.time_left_s))} of {format_duration(int(one.walltime_s))} left")
    line = f"{one.number} ({what}) {', '.join(told)}"
    quiet = one.standing is Standing.RUNNING and one.reason.startswith(_SAYS_NOTHING)
    return line if quiet or not one.reason else f"{line}: {one.reason}"


def progress(picture: Picture) -> str:
    """A bar, and how many evaluations are where."""
    snapshot, tally = picture.snapshot, picture.tally
    counts = ", ".join(f"{tally.counts[state]} {in_words(state)}" for state in State if tally.counts[state])
    again = f"; {tally.again} tried again" if tally.again else ""
    ended = f"{tally.ended} ended"
    if snapshot.max_evals is None:
        return f"{ended}, no budget ({counts or 'none yet'}{again})"
    share = min(1.0, tally.ended / max(1, snapshot.max_evals))
    full = int(share * _BAR)
    bar = "█" * full + "░" * (_BAR - full)
    return f"{bar} {share:.0%}, {tally.ended} of {snapshot.max_evals} ended ({counts or 'none yet'}{again})"


def in_words(state: State) -> str:
    """``timed out``"""
    return state.value.lower().replace("_", " ")


def ending(picture: Picture) -> str:
    """How many evaluations end in a minute, and when the budget will be spent: a range, or that it is unknown."""
    snapshot, tally = picture.snapshot, picture.tally
    running = [one for one in snapshot.allocations if one.standing is Standing.RUNNING and one.started_at is not None]
    if snapshot.finished_at is not None:
        return "the search is done"
    if not running:
        return "nothing runs"
    began_at = min(one.started_at or 0.0 for one in running)
    now = snapshot.taken_at
    rate = pace.per_minute(tally.ends, now, began_at)
    told = "" if rate is None else f"{rate:.3g} a minute; " if rate >= 1 else f"{60 * rate:.3g} an hour; "
    if snapshot.max_evals is None:
        return f"{told}it goes on to the walltime's end, for there is no budget"
    left = snapshot.max_evals - tally.ended
    span = pace.until_spent(left, tally.ends, now, began_at)
    if span is None:
        return f"{told}the end is unknown: too few evaluations have ended in this allocation"
    deadlines = [one.deadline_at for one in running if one.deadline_at is not None]
    return told + _end(left, span, now, max(deadlines) if len(deadlines) == len(running) else None)


def _end(left: int, span: pace.Range, now: float, deadline_at: float | None) -> str:
    if deadline_at is None or now + span.low_s <= deadline_at:
        until = "" if deadline_at is None or now + span.high_s <= deadline_at else ", if the walltime suffices"
        low, high = clock(now + span.low_s, now), clock(now + span.high_s, now)
        return (
            f"the budget is spent at about {low}{until}"
            if low == high
            else (f"the budget is spent between {low} and {high}{until}")
        )
    left_s = deadline_at - now
    least, most = (min(left, int(left * left_s / s)) for s in (span.high_s, span.low_s))
    return f"the walltime ends before the budget: {least} to {most} of {left} more until {clock(deadline_at, now)}"


def clock(at: float, now: float) -> str:
    """A time of today, or with its day."""
    local = time.localtime(at)
    same_day = local[:3] == time.localtime(now)[:3]
    if at - now > 365 * _SECONDS_A_DAY:
        return "a time more than a year away"
    return time.strftime("%H:%M" if same_day else "%d %b %H:%M", local)


def best(picture: Picture) -> str:
    """The best objective and its configuration."""
    found = picture.snapshot.best
    if found is None:
        return "no result yet"
    return f"{text.number(found.objective)} (evaluation {found.id}): {text.configuration(found.config)}"


def failure_lines(picture: Picture, width: int, height: int) -> list[str]:
    """How many evaluations ended with which error, the most frequent first."""
    groups = picture.tally.failures()
    if not groups:
        return ["no failure"]
    lines = [f"{len(some):>5} {text.printable(error)}" for error, some in groups]
    if len(lines) > height:
        lines = [*lines[: height - 1], f"and {len(lines) - height + 1} more kinds"]
    return [line[:width] for line in lines]
