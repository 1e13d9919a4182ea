"""A driver that shows no sign of life is told as such."""

from __future__ import annotations

import pytest

from hpcsearch.monitor.allocations import Standing, view, with_silence
from hpcsearch.workflow.lease import Holder

ROW = {
    "number": 2,
    "site": "slurm",
    "scheduler": "slurm",
    "scheduler_id": "17",
    "queue": "debug",
    "account": "lab",
    "nodes": 4,
    "walltime_s": 600.0,
    "job_mode": "serial",
    "submitted_at": 0.0,
    "started_at": 10.0,
    "deadline_at": 610.0,
    "ended_at": None,
    "state": "RUNNING",
    "outcome": None,
}
NOW = 1000.0


@pytest.mark.parametrize(
    ("holder", "silent"),
    [
        (Holder("token", 2, "sn1", 1, 5, 10.0, NOW - 200), True),
        (Holder("token", 2, "sn1", 1, 5, 10.0, NOW - 20), False),
        (Holder("token", 2, "sn1", 1, 5, 100.0, NOW - 200), False),  # it need not show itself more often
        (Holder("token", 1, "sn1", 1, 5, 10.0, NOW - 200), False),  # another allocation's
        (Holder(None, 2, "sn1", None, 5, 10.0, NOW - 200), False),  # given back
        (Holder("token", 2, "sn1", 1, 5, 10.0), False),
    ],
)
def test_silence(holder: Holder, silent: bool) -> None:
    seen = with_silence(view(ROW, None), holder, NOW)
    assert seen.standing is Standing.RUNNING
    assert ("silent for 200 s" in seen.reason and "hpcsearch cancel" in seen.reason) is silent
