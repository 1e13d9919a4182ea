"""``hpcsearch ls``: all workflows under the root, in three formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cli_bed import hpcsearch

from hpcsearch.monitor.view import COLUMNS
from hpcsearch.schedulers import AllocationState, AllocationStatus
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


@pytest.fixture
def root(make_workflow: MakeWorkflow, tmp_path: Path) -> str:
    """Two workflows, one of them under another name than it was made with, and one that is broken."""
    make_workflow("one", objectives=(0.25,))
    make_workflow("two", objectives=(0.5, 0.75)).root.rename(tmp_path / "workflows" / "copy")
    make_workflow("zero").database.write_text("no database at all, but long enough to be looked at")
    return str(tmp_path / "workflows")


def entries(root: str, form: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert hpcsearch("ls", "--format", form, "--root", root) == 0
    text = capsys.readouterr().out
    return json.loads(text) if form == "json" else list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_the_same_of_each_as_from_status(root: str, capsys: pytest.CaptureFixture[str], form: str) -> None:
    copy, one, zero = entries(root, form, capsys)
    assert [copy["workflow"], one["workflow"], zero["workflow"]] == ["copy", "one", "zero"]
    assert (str(copy["ended"]), str(copy["best"]), str(copy["best_id"])) == ("2", "0.75", "2")
    assert "cannot be read" in zero["error"]
    assert set(copy) <= set(COLUMNS)
    assert copy["created"][-6] in "+-"
    assert hpcsearch("status", "--format", form, "--root", root) == 0
    both = capsys.readouterr().out
    assert hpcsearch("ls", "--format", form, "--root", root) == 0
    assert capsys.readouterr().out == both


def test_people_get_a_line_for_each_in_their_zone(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("ls", "--root", root) == 0
    header, copy, one, zero = capsys.readouterr().out.splitlines()
    assert header.split() == ["Workflow", "State", "Search", "Ended", "Budget", "Best", "Created"]
    assert copy.split()[:6] == ["copy", "submitted", "random", "2", "50", "0.75"]
    datetime.strptime(" ".join(one.split()[6:8]), "%Y-%m-%d %H:%M:%S")
    assert zero.startswith("zero ")
    assert "cannot be read" in zero


def test_a_root_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert hpcsearch("ls", "--root", str(tmp_path / "file")) == 0
    assert "No workflows in" in capsys.readouterr().out


def test_a_root_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert hpcsearch("ls", "--root", str(tmp_path)) == 7
    assert f"The folder of workflows {tmp_path} cannot be read: Permission denied." in capsys.readouterr().err


def test_the_scheduler_is_asked_once_of_all_that_may_be_worked_on(
    make_workflow: MakeWorkflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, state in (("one", "SUBMITTED"), ("two", "RUNNING"), ("three", "ENDED")):
        layout = make_workflow(name)
        (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
        engine = database.writer(layout.database)
        store.update_allocation(engine, 1, scheduler_id=f"id-{name}", state=state)
        engine.dispose()
    asked: list[list[str]] = []

    def answer(site: Site, ids: list[str]) -> dict[str, AllocationStatus]:
        asked.append(sorted(ids))
        return dict.fromkeys(ids, AllocationStatus(AllocationState.QUEUED))

    monkeypatch.setattr("hpcsearch.schedulers.status", answer)
    states = {one["workflow"]: one["state"] for one in entries(str(tmp_path / "workflows"), "json", capsys)}
    assert asked == [["id-one", "id-two"]]
    assert (states["one"], states["three"]) == ("queued", "ended")
