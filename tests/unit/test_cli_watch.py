"""``hpcsearch status --watch`` and ``hpcsearch monitor`` where there is no terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from cli_bed import change, hpcsearch

from hpcsearch.cli.main import INTERRUPTED
from hpcsearch.monitor import cancelling, repeat, watch
from hpcsearch.monitor.allocations import Standing
from hpcsearch.schedulers import AllocationState, AllocationStatus, query_cache
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


@pytest.fixture
def live(make_workflow: MakeWorkflow) -> Layout:
    """A workflow with an allocation that lives as long as this process."""
    layout = make_workflow(objectives=(0.5, None))
    change(layout, state="RUNNING", scheduler_id=str(ProcessId.of(os.getpid())), started_at=time.time())
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    return layout


def ends_after(monkeypatch: pytest.MonkeyPatch, layout: Layout, looks: int) -> None:
    """The allocation ends while somebody waits for the next look."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == looks:
            change(layout, state="ENDED", outcome="done")

    monkeypatch.setattr(repeat.time, "sleep", sleep)


def test_json_is_an_object_a_line(
    live: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_after(monkeypatch, live, 2)
    assert hpcsearch("status", str(live.root), "--watch", "--format", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"]["state"] for line in lines] == ["running", "running", "ended"]
    assert all(line["seen"] for line in lines)


def test_csv_has_one_header(live: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ends_after(monkeypatch, live, 1)
    assert hpcsearch("status", str(live.root), "--watch", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["state"] for row in rows] == ["running", "ended"]
    assert rows[0]["ended"] == "2" and rows[0]["seen"]


def test_a_page_is_shown_again_when_it_has_changed(
    live: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(live, started_at=None, deadline_at=None)  # nothing that goes on by itself
    ends_after(monkeypatch, live, 3)
    assert hpcsearch("status", str(live.root), "--watch") == 0
    out = capsys.readouterr().out
    assert out.count("Workflow ") == 2 and "\n\nWorkflow" in out and "\x1b" not in out


def test_all_workflows_are_watched_until_ctrl_c(live: Layout) -> None:
    command = [sys.executable, "-m", "hpcsearch.cli", "status", "--root", str(live.root.parent), "--watch"]
    with subprocess.Popen([*command, "--interval", "0.5"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Workflow")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--interval", "5"], "give --watch, too"),
        (["--watch", "--interval", "0.1"], "0.5<=x<=3600"),
        (["--watch", "--interval", "soon"], "is not a valid float"),
    ],
)
def test_wrong_intervals(live: Layout, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert hpcsearch("status", str(live.root), *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_the_scheduler_is_asked_once_per_interval_however_often_it_is_looked(
    live: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    heard = watch.hear_schedulers

    def hear(layouts: list[Layout]) -> object:
        asked.append(1)
        return heard(layouts)

    monkeypatch.setattr(watch, "hear_schedulers", hear)
    clock = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock[0])
    looking = watch.Watch(live)
    for seconds in (0.0, 0.3, 0.3, 0.3, 0.3, 0.3):  # the site's interval is a second
        clock[0] += seconds
        looking.look()
    assert len(asked) == 2


def test_an_answer_from_before_the_driver_began_does_not_hold(
    live: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The scheduler is asked twice a minute: until then what it said of the queue is not shown of what runs."""
    asked: list[int] = []

    def query(identifiers: Collection[str]) -> dict[str, AllocationStatus]:
        asked.append(1)
        return dict.fromkeys(identifiers, AllocationStatus(AllocationState.QUEUED, "It waits.", "PENDING"))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hpcsearch.schedulers.status", lambda site, ids: query_cache.statuses(site, ids, query))
    (live.allocation(1) / "site.json").write_text(dump_site(find_site("slurm")))
    change(live, state="SUBMITTED", started_at=None, scheduler_id="7")
    looking = watch.Watch(live)
    assert looking.look().snapshot.allocations[0].standing is Standing.QUEUED
    change(live, state="RUNNING", started_at=time.time(), deadline_at=time.time() + 600)
    snapshot = looking.look().snapshot
    assert snapshot.allocations[0].standing is Standing.RUNNING
    assert len(asked) == 1
    told = list(cancelling.stop(live, cancelling.known(snapshot.live)))
    assert told == ["Allocation 1 (7) starts nothing more, and ends when what runs has ended."]
    assert looking.look().snapshot.allocations[0].reason.endswith("ends when what runs has ended.")


def test_the_interval_of_a_site_that_cannot_be_read(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()
    assert watch.poll_interval_s(layout) == 30.0
    (layout.allocation(1) / "site.json").write_text("{")
    assert watch.poll_interval_s(layout) == 30.0


# ---- monitor


def test_without_a_workflow_it_is_the_one_written_last(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for age_s, name in ((0.0, "young"), (100.0, "old")):
        layout = make_workflow(name, objectives=(0.5,))
        os.utime(layout.database, (time.time() - age_s,) * 2)
    assert hpcsearch("monitor", "--root", str(tmp_path / "workflows")) == 0
    assert capsys.readouterr().out.startswith("young: ")


def test_nothing_to_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("monitor", "--root", str(tmp_path)) == 3
    assert "There is no workflow in" in capsys.readouterr().err
    assert hpcsearch("monitor", "what", "--root", str(tmp_path)) == 3
    assert "There is no workflow 'what'" in capsys.readouterr().err


def test_a_page_of_a_workflow_with_nothing_in_it(
    make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hpcsearch("monitor", str(make_workflow().root), "--once") == 0
    out = capsys.readouterr().out
    assert "0 of 50 ended (none yet)" in out and "no result yet" in out and "no node has begun" in out


def test_a_page_has_all_parts(live: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("monitor", str(live.root), "--once") == 0
    out = capsys.readouterr().out
    for part in (
        "Allocation ",
        "2 of 50 ended",
        "Failures\n      1 ValueError: it diverged",
        "Objective\n",
        "Recent\n",
    ):
        assert part in out


def test_looking_does_not_hold_a_writer_up(live: Layout) -> None:
    """A writer with no patience commits all the time while somebody looks all the time."""
    over = threading.Event()
    engine = database.writer(live.database, busy_timeout_s=30)
    looking = watch.Watch(live)
    errors: list[Exception] = []

    def look() -> None:
        try:
            while not over.is_set():
                looking.look()
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for number in range(20):
            store.update_allocation(engine, 1, queue=f"q{number}")
    finally:
        over.set()
        thread.join(60)
        engine.dispose()
    assert not errors
    assert looking.look().snapshot.allocations[0].queue == "q19"
