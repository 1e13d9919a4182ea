"""Where an allocation stands, from its row in the database and the scheduler's word taken together."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError, SiteError
from hpcsearch.schedulers import AllocationState, AllocationStatus, EndCause
from hpcsearch.sites.load import read_site
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.lease import Holder


class Standing(enum.StrEnum):
    """Where an allocation stands, for the reader."""

    SUBMITTED = "submitted"  # the scheduler has not been heard, or knows nothing of it (yet)
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "being cancelled"  # it was told to end, and nobody has said yet that it has
    ENDED = "ended"  # its driver said so
    CANCELLED = "cancelled"  # it was taken back before its driver had begun
    DIED = "died"  # the scheduler says that it ended, its driver said nothing


#: Allocations that may still work on their workflow.
LIVE = frozenset({Standing.SUBMITTED, Standing.QUEUED, Standing.RUNNING, Standing.CANCELLING})


@dataclass(frozen=True)
class AllocationView:
    """One allocation. Times are in seconds since 1970, UTC."""

    number: int
    site: str
    scheduler: str
    scheduler_id: str | None
    queue: str
    account: str
    nodes: int
    walltime_s: float
    job_mode: str
    submitted_at: float
    started_at: float | None
    deadline_at: float | None
    ended_at: float | None
    standing: Standing
    reason: str  # a sentence, or empty
    time_left_s: float | None  # of one that runs
    can_run: bool  # False for one that waits and that its scheduler will never start

    @property
    def live(self) -> bool:
        return self.standing in LIVE


_SCHEDULERS_WORD: Mapping[AllocationState, Mapping[str, Standing]] = {
    AllocationState.QUEUED: {"SUBMITTED": Standing.QUEUED, "RUNNING": Standing.QUEUED},
    AllocationState.RUNNING: {"SUBMITTED": Standing.RUNNING, "RUNNING": Standing.RUNNING},
    AllocationState.ENDED: {"SUBMITTED": Standing.DIED, "RUNNING": Standing.DIED},
    AllocationState.UNKNOWN: {"SUBMITTED": Standing.SUBMITTED, "RUNNING": Standing.RUNNING},
}

_DIED = {
    "SUBMITTED": "It ended before its driver had begun.",
    "RUNNING": "Its driver ended without recording it.",
}

#: A driver that works shows a sign of life much more often than this (seconds).
SILENT_S = 60.0

#: What a driver records that was told to end and not by whom: the scheduler may know more.
TOLD_TO_END = "the allocation was told to end"

#: Ends that somebody or something else brought about.
_BROUGHT_ABOUT = frozenset(EndCause) - {EndCause.NONE, EndCause.DONE, EndCause.FAILED}


Heard = Mapping[int, AllocationStatus]


def ask_schedulers(rows_of: Mapping[Layout, Iterable[Mapping[str, Any]]]) -> dict[Layout, Heard]:
    """The scheduler's status of every allocation that has not recorded why it ended, by workflow and number.

    There is one query a site for all workflows. What a scheduler cannot tell of is UNKNOWN, with the reason.
    """
    asked: dict[str, list[tuple[Layout, Mapping[str, Any]]]] = {}
    for layout, rows in rows_of.items():
        for row in rows:
            if row["scheduler_id"] is not None and (row["state"] != "ENDED" or row["outcome"] == TOLD_TO_END):
                asked.setdefault(row["site"], []).append((layout, row))
    found: dict[Layout, dict[int, AllocationStatus]] = {layout: {} for layout in rows_of}
    for some in asked.values():
        layout, row = some[-1]
        words, age_s = _ask(layout.allocation(row["number"]) / "site.json", [row["scheduler_id"] for _, row in some])
        for layout, row in some:
            found[layout][row["number"]] = _unless_overtaken(row, words[row["scheduler_id"]], age_s)
    return dict(found)


def _ask(site_file: Path, ids: list[str]) -> tuple[dict[str, AllocationStatus], float]:
    """Each id's status, and how many seconds old it may be."""
    age_s = 0.0
    words: dict[str, AllocationStatus] = {}
    otherwise = "The scheduler does not know it."
    try:
        site = read_site(site_file)
        age_s = float(site.poll_interval_s)
        words = schedulers.status(site, ids)
    except (SchedulerError, SiteError) as error:
        otherwise = f"The scheduler cannot be asked: {error.message}"
    return {one: words.get(one) or AllocationStatus(AllocationState.UNKNOWN, otherwise) for one in ids}, age_s


def _unless_overtaken(row: Mapping[str, Any], status: AllocationStatus, age_s: float) -> AllocationStatus:
    """``status``, unless it is from before the allocation's driver began or ended, as an answer of that age may be."""
    if status.state is not AllocationState.QUEUED:
        return status
    if row["state"] == "RUNNING" and (row["started_at"] or 0.0) + age_s > time.time():
        return AllocationStatus(AllocationState.RUNNING)
    if row["state"] == "ENDED" and (row["ended_at"] or 0.0) + age_s > time.time():
        return AllocationStatus(AllocationState.UNKNOWN)
    return status


def view(row: Mapping[str, Any], status: AllocationStatus | None) -> AllocationView:
    """An allocation from its row and, unless it has recorded why it ended, the scheduler's status taken before."""
    standing, reason = _standing(row, status)
    computed: dict[str, Any] = {
        "standing": standing,
        "reason": reason,
        "time_left_s": _time_left_s(row, status) if standing is Standing.RUNNING else None,
        "can_run": status is None or status.can_run,
    }
    names = AllocationView.__dataclass_fields__.keys() - computed.keys()
    return AllocationView(**{name: row[name] for name in names}, **computed)


def with_silence(view: AllocationView, holder: Holder, now: float) -> AllocationView:
    """The view, which says so when the allocation's driver has long shown no sign of life."""
    if view.standing is not Standing.RUNNING or holder.allocation != view.number or holder.beat_at is None:
        return view
    silent_s = now - holder.beat_at
    if holder.token is None or silent_s < max(SILENT_S, 3 * holder.period_s):
        return view
    reason = (
        f"Its driver has been silent for {silent_s:.0f} s: the node that it runs on may be dead. "
        "End it with 'hpcsearch cancel', then go on with 'hpcsearch resume'."
    )
    return replace(view, reason=reason)


def with_stop(view: AllocationView, layout: Layout) -> AllocationView:
    """The view, which says so when the allocation was told to start nothing more."""
    if view.standing is not Standing.RUNNING:
        return view
    at = _told_at(layout.stopped(view.number))
    if at is None:
        return view
    return replace(view, reason=f"It was told at {at} to start nothing more, and ends when what runs has ended.")


def with_cancel(view: AllocationView, layout: Layout) -> AllocationView:
    """The view, which says so when the allocation was told to end and has not ended yet, as far as is known."""
    in_vain = view.standing is Standing.DIED and view.started_at is None
    if not view.live and not in_vain:
        return view
    at = _told_at(layout.cancelled(view.number))
    if at is None:
        return view
    standing = Standing.CANCELLED if in_vain else Standing.CANCELLING
    return replace(view, standing=standing, reason=f"It was told to end at {at}.", time_left_s=None)


def _told_at(mark: Path) -> str | None:
    """The time of day when somebody told an allocation what the file ``mark`` stands for; None where nobody has."""
    try:
        return datetime.fromtimestamp(mark.stat().st_mtime).strftime("%H:%M:%S")
    except OSError:
        return None


def _standing(row: Mapping[str, Any], status: AllocationStatus | None) -> tuple[Standing, str]:
    if row["state"] == "ENDED":
        if status is not None and status.state is AllocationState.QUEUED:  # its scheduler begins it once more
            return Standing.QUEUED, status.reason
        return Standing.ENDED, _sentence(row["outcome"] or "", status)
    if row["scheduler_id"] is None:
        return Standing.SUBMITTED, "It has no id of the scheduler: its submission was cut off, or is going on."
    if status is None:
        return (Standing.RUNNING if row["state"] == "RUNNING" else Standing.SUBMITTED), ""
    standing = _SCHEDULERS_WORD[status.state][row["state"]]
    if standing is not Standing.DIED:
        return standing, status.reason
    if row["state"] == "SUBMITTED" and status.cause is EndCause.CANCELLED:
        return Standing.CANCELLED, status.reason
    return standing, f"{status.reason} {_DIED[row['state']]}".strip()


def _sentence(outcome: str, status: AllocationStatus | None) -> str:
    """Why a driver ended, with what its scheduler knows about it."""
    if status is not None and status.cause in _BROUGHT_ABOUT:
        return f"{status.reason} Its driver recorded its end."
    return outcome


def _time_left_s(row: Mapping[str, Any], status: AllocationStatus | None) -> float | None:
    if row["deadline_at"] is not None:
        return max(0.0, float(row["deadline_at"]) - time.time())
    return None if status is None or status.time_left_s is None else float(status.time_left_s)
