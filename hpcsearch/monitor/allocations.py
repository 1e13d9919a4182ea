"""Where an allocation stands, from its row in the database and the scheduler's word taken together."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError, SiteError
from hpcsearch.schedulers import AllocationState, AllocationStatus
from hpcsearch.sites.load import read_site
from hpcsearch.workflow.layout import Layout


class Standing(enum.StrEnum):
    """Where an allocation stands, for the reader."""

    SUBMITTED = "submitted"  # the scheduler has not been heard, or knows nothing of it (yet)
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"  # its driver said so
    DIED = "died"  # the scheduler says that it ended, its driver said nothing


#: Allocations that may still work on their workflow.
LIVE = frozenset({Standing.SUBMITTED, Standing.QUEUED, Standing.RUNNING})


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


Heard = Mapping[int, AllocationStatus]


def ask_schedulers(rows_of: Mapping[Layout, Iterable[Mapping[str, Any]]]) -> dict[Layout, Heard]:
    """The scheduler's status of every allocation that has not recorded its end, by workflow and number.

    There is one query a site for all workflows. What a scheduler cannot tell of is UNKNOWN, with the reason.
    """
    asked: dict[str, list[tuple[Layout, Mapping[str, Any]]]] = {}
    for layout, rows in rows_of.items():
        for row in rows:
            if row["state"] != "ENDED" and row["scheduler_id"] is not None:
                asked.setdefault(row["site"], []).append((layout, row))
    found: dict[Layout, dict[int, AllocationStatus]] = {layout: {} for layout in rows_of}
    for some in asked.values():
        layout, row = some[-1]
        words = _ask(layout.allocation(row["number"]) / "site.json", [row["scheduler_id"] for _, row in some])
        for layout, row in some:
            found[layout][row["number"]] = words[row["scheduler_id"]]
    return dict(found)


def _ask(site_file: Path, ids: list[str]) -> dict[str, AllocationStatus]:
    try:
        words = schedulers.status(read_site(site_file), ids)
        otherwise = "The scheduler does not know it."
    except (SchedulerError, SiteError) as error:
        words = {}
        otherwise = f"The scheduler cannot be asked: {error.message}"
    return {one: words.get(one) or AllocationStatus(AllocationState.UNKNOWN, otherwise) for one in ids}


def view(row: Mapping[str, Any], status: AllocationStatus | None) -> AllocationView:
    """An allocation from its row and, unless it has recorded its end, the scheduler's status taken before."""
    standing, reason = _standing(row, status)
    names = AllocationView.__dataclass_fields__.keys() - {"standing", "reason"}
    return AllocationView(**{name: row[name] for name in names}, standing=standing, reason=reason)


def _standing(row: Mapping[str, Any], status: AllocationStatus | None) -> tuple[Standing, str]:
    if row["state"] == "ENDED":
        return Standing.ENDED, row["outcome"] or ""
    if row["scheduler_id"] is None:
        return Standing.SUBMITTED, "It has no id of the scheduler: its submission was cut off, or is going on."
    if status is None:
        return (Standing.RUNNING if row["state"] == "RUNNING" else Standing.SUBMITTED), ""
    standing = _SCHEDULERS_WORD[status.state][row["state"]]
    reason = f"{_DIED[row['state']]} {status.reason}" if standing is Standing.DIED else status.reason
    return standing, reason.strip()
