"""What the tests on Slurm and on the stand-in for PBS do alike: they submit allocations, and follow chains of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import schedulers
from hpcsearch.monitor.snapshot import Snapshot
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.sites.render import render_job_script

Submit = Callable[..., tuple[AllocationRequest, Any]]


def submitting(folder: Path, scheduler: str, queue: str) -> Submit:
    """Submits an allocation whose driver is a shell script; gives the request and submitit's job."""

    def submit(driver: str, **changes: Any) -> tuple[AllocationRequest, Any]:
        number = len(list(folder.glob("allocations/*"))) + 1
        python = folder / f"python{number}"
        python.write_text(f"#!/bin/bash\n{driver}\n")
        python.chmod(0o755)
        site: Site = changes.pop("site", None) or find_site(scheduler)
        values: dict[str, Any] = {
            "workflow": "poly",
            "directory": folder,
            "number": number,
            "folder": folder / f"allocations/{number}",
            "site": site,
            "queue": queue,
            "account": "lab",
            "nodes": 1,
            "walltime_s": 600,
            "job_mode": "serial",
            "python": str(python),
            "cwd": folder,
            "job_name": "poly",
        }
        request = AllocationRequest(**{**values, **changes})
        return request, schedulers.submit(request, render_job_script(request))

    return submit


def check_chain(
    snapshot: Callable[[], Snapshot],
    hpcsearch: Callable[..., int],
    until: Callable[[Callable[[], bool]], None],
    gone: Callable[[], bool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A chain of three that was just submitted: one runs, the others wait, and all are cancelled at once.

    ``gone`` tells whether the scheduler has none of them any more.
    """
    until(lambda: snapshot().running > 0)
    seen = snapshot()
    assert [one.standing for one in seen.allocations] == ["running", "queued", "queued"]
    assert seen.allocations[1].reason == "It waits for an earlier allocation to end."
    assert 0 < (seen.allocations[0].time_left_s or 0) <= 600
    capsys.readouterr()
    assert hpcsearch("resume", "poly") == 2
    assert "still running" in capsys.readouterr().err
    assert hpcsearch("cancel", "poly") == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in told] == ["3", "2", "1"]
    until(lambda: gone() and not snapshot().live)
    ended = snapshot().allocations
    assert [one.started_at is None for one in ended] == [False, True, True], "none took the turn of another"
    assert [one.standing for one in ended[1:]] == ["cancelled", "cancelled"]
