"""``hpcsearch status``: its formats, names and paths, what a cancel changes, older databases, terminals."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_bed import change, finished, hpcsearch, on_a_terminal
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hpcsearch.monitor.view import COLUMNS
from hpcsearch.schedulers import AllocationState, AllocationStatus
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


def values(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Any:
    assert hpcsearch("status", str(layout.root), "--format", "json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("given", ["poly", "poly/", "./workflows/poly", "workflows/poly/../poly", "{}"])
@pytest.mark.parametrize(
    "command", ["status", "results", "show", "logs", "monitor", "why", "stop", "cancel", "rm", "resume"]
)
def test_a_workflow_is_named_or_pathed_alike(
    make_workflow: MakeWorkflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    given: str,
) -> None:
    layout = make_workflow(objectives=(0.5,), max_evals=1)
    change(layout, state="ENDED")
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workflow SET finished_at = 1, outcome = 'The budget is spent.'")
    engine.dispose()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    more = {"show": ["1"], "rm": ["--yes"]}.get(command, [])
    code = hpcsearch(command, given.format(layout.root), *more)
    printed = capsys.readouterr()
    assert "no workflow" not in printed.err
    assert code == (2 if command == "resume" else 0)  # there is nothing to go on with
    assert "poly" in printed.out + printed.err or command == "results"


def test_the_folder_that_one_is_in(
    make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make_workflow()
    change(layout, state="ENDED")
    (layout.root / "allocations").mkdir(exist_ok=True)
    monkeypatch.chdir(layout.root / "allocations")
    assert hpcsearch("status", "..") == 0
    assert f"in {layout.root}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte", "/etc/hostname"])
def test_what_cannot_be_a_workflow(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("status", name) == 3
    assert "There is no workflow" in capsys.readouterr().err


def test_a_misspelt_name_is_answered_with_near_ones(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("poly", "poly2", "zebra"):
        make_workflow(name)
    assert hpcsearch("status", "pooly", "--root", str(tmp_path / "workflows")) == 3
    printed = capsys.readouterr().err
    assert "did you mean 'poly' or 'poly2'?" in printed
    assert "zebra" not in printed


def test_csv_has_a_line_with_all_columns(make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make_workflow(objectives=(0.25, None), proposed=3)
    change(layout, state="ENDED", outcome="so, that's it")
    assert hpcsearch("status", str(layout.root), "--format", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert tuple(row) == COLUMNS
    assert (row["workflow"], row["state"], row["ended"], row["PROPOSED"], row["FAILED"]) == (
        "poly",
        "ended",
        "2",
        "3",
        "1",
    )
    assert (row["best"], row["best_id"], row["error"]) == ("0.25", "1", "")
    assert row["created"][-6] in "+-"


@pytest.fixture
def queued(make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A workflow with an allocation that its scheduler says is running, and goes on saying."""
    layout = make_workflow(objectives=(0.5,))
    change(layout, scheduler_id="7", state="RUNNING")
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    word = AllocationStatus(AllocationState.RUNNING, "It runs.")
    monkeypatch.setattr("hpcsearch.schedulers.status", lambda site, ids: dict.fromkeys(ids, word))
    monkeypatch.setattr("hpcsearch.schedulers.cancel", lambda site, identifier: None)
    return layout


def test_after_a_cancel_it_is_being_cancelled(queued: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert values(queued, capsys)["state"] == "running"
    assert hpcsearch("cancel", str(queued.root)) == 0
    capsys.readouterr()
    seen = values(queued, capsys)
    assert seen["state"] == seen["allocations"][0]["standing"] == "being cancelled"
    assert seen["allocations"][0]["reason"].startswith("It was told to end at ")
    change(queued, state="ENDED", outcome="the allocation was told to end")
    assert values(queued, capsys)["state"] == "ended"


def test_a_cancel_that_the_scheduler_refuses_leaves_it_running(
    queued: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpcsearch.errors import SchedulerError

    def refuse(site: object, identifier: str) -> None:
        raise SchedulerError("No.")

    monkeypatch.setattr("hpcsearch.schedulers.cancel", refuse)
    assert hpcsearch("cancel", str(queued.root)) == 6
    capsys.readouterr()
    assert values(queued, capsys)["state"] == "running"


def test_what_is_being_cancelled_may_be_cancelled_again_and_not_removed(
    queued: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert hpcsearch("cancel", str(queued.root)) == 0
        assert "Allocation 1 (7) is told to end." in capsys.readouterr().out
    assert hpcsearch("rm", str(queued.root), "--yes") == 2
    assert "is being cancelled" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "results", "resume", "cancel", "rm"])
def test_a_database_of_an_older_version_is_named_so(
    make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    layout = make_workflow()
    with sqlite3.connect(layout.database) as connection:
        connection.execute("ALTER TABLE lease DROP COLUMN beat_at")
        connection.execute("ALTER TABLE workflow DROP COLUMN minimize")
    connection.close()
    assert hpcsearch(command, str(layout.root)) == 7
    printed = capsys.readouterr()
    assert "was written by an older version of hpcsearch (no such column: " in printed.err
    assert "environment that submitted" in printed.err or command == "rm"
    assert printed.out in ("", "Reading workflow database...failed\n")


@pytest.mark.parametrize("command", ["status", "ls"])
def test_it_counts_in_the_database(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """As many rows are fetched of 3 evaluations as of 300: how long it takes must not depend on them."""
    fetched: list[int] = []

    def count(connection: sqlite3.Connection, record: object) -> None:
        def counted(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
            fetched[-1] += 1
            return row

        connection.row_factory = counted

    for total in (3, 300):
        layout = make_workflow("poly", tuple(float(number) for number in range(total)), max_evals=None)
        change(layout, state="ENDED")
        fetched.append(0)
        event.listen(Engine, "connect", count)
        try:
            assert hpcsearch(command, "--root", str(layout.root.parent), *["poly"][: command == "status"]) == 0
        finally:
            event.remove(Engine, "connect", count)
        shutil.rmtree(layout.root)
    assert fetched[0] == fetched[1] > 0
    assert " 300 " in capsys.readouterr().out


@pytest.mark.parametrize(("variables", "bold"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(
    make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], bold: bool
) -> None:
    layout = make_workflow()
    change(layout, state="ENDED")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    code, shown = on_a_terminal("status", str(layout.root))
    assert code == 0 and ("\x1b" in shown) is bold, shown
    assert "\x1b" not in finished("status", str(layout.root)).stdout
