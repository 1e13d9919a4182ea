"""What the driver tells the recorder, and how: each kind of row is a list of values in a fixed order.

Thousands of them may go by in a second, so they carry no names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# Driver to recorder: {"op": ...}
OPEN = "open"  # directory, allocation, deadline_at, reports: whether those of earlier drivers are wanted
LEARNED = "learned"  # names, minimize: what the problem says, where submit did not import it
HISTORY = "history"  # everything that has ended, for the search
COMMIT = "commit"  # number, and rows by kind: started, ended, requeued, reports, nodes, configurations
CLOSE = "close"  # outcome, finished

# Recorder to driver.
WAITING = "waiting"  # another driver holds the lease: allocation, host
REPORTS = "reports"  # rows: [[evaluation, step, metrics], ...]: a page of them, before OPENED
OPENED = "opened"  # workflow, unfinished, ended, succeeded, durations, finished: those that reported
OUTCOMES = "outcomes"  # results: [[configuration, objectives.Told, whether it was stopped], ...], last
COMMITTED = "committed"  # number, evaluations: [[id, configuration], ...] that are PROPOSED now, full, commit_s, stop
BUSY = "busy"  # reason, for_s: the database does not take writes; the recorder goes on trying
CLOSED = "closed"
FAILED = "failed"  # kind, message, hint: the recorder has ended

STARTED_COLUMNS = ("evaluation", "attempt", "node", "slot", "nodes", "slots", "started_at")
ENDED_COLUMNS = (
    "evaluation",
    "attempt",
    "node",
    "slot",
    "nodes",
    "slots",
    "state",
    "failures",
    "started_at",
    "ended_at",
    "duration_s",
    "objective",
    "metadata",
    "error_kind",
    "error_message",
    "traceback",
    "final",
)
REQUEUED_COLUMNS = ("evaluation", "attempt", "at")
REPORT_COLUMNS = ("evaluation", "attempt", "step", "at", "metrics")


def named(columns: Sequence[str], rows: Iterable[Sequence[Any]], **extra: Any) -> list[dict[str, Any]]:
    """Rows as dictionaries, with the same extra values in each."""
    return [dict(zip(columns, row, strict=True), **extra) for row in rows]
