"""``hpcsearch rm``: what it asks, what it refuses, and that nothing but the workflow goes."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_bed import change, command, hpcsearch

from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


@pytest.fixture
def layout(make_workflow: MakeWorkflow) -> Layout:
    """A workflow whose allocation has ended."""
    made = make_workflow(objectives=(0.5,))
    change(made, state="ENDED")
    return made


def test_it_goes_and_its_neighbours_stay(
    layout: Layout, make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_workflow("other")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("!")
    (layout.root / "link").symlink_to(tmp_path / "data")
    assert hpcsearch("rm", "poly", "--yes", "--root", str(tmp_path / "workflows")) == 0
    assert capsys.readouterr().out == "Removed 'poly'.\n"
    assert [path.name for path in (tmp_path / "workflows").iterdir()] == ["other"]  # nothing hidden either
    assert (tmp_path / "data" / "precious").read_text() == "!"


def test_without_a_terminal_it_wants_to_be_told(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("rm", str(layout.root)) == 2
    assert "Add --yes" in capsys.readouterr().err
    assert layout.database.exists()


@pytest.mark.parametrize(("answer", "code", "stays"), [("y\n", 0, False), ("n\n", 1, True), ("\n", 1, True)])
def test_at_a_terminal_it_asks(layout: Layout, answer: str, code: int, stays: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(
            command("rm", str(layout.root)), stdin=theirs, capture_output=True, text=True, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code
    assert "Remove 'poly' with 1 ended evaluations" in done.stderr
    assert layout.root.exists() is stays


@pytest.mark.parametrize(
    "values",
    [
        {"state": "SUBMITTED", "scheduler_id": "7"},
        {"state": "RUNNING", "scheduler_id": "7"},
        {"state": "SUBMITTED"},  # it may be on its way to the scheduler
    ],
)
def test_one_that_is_worked_on_is_refused(
    layout: Layout, capsys: pytest.CaptureFixture[str], values: dict[str, str]
) -> None:
    change(layout, **values)
    assert hpcsearch("rm", str(layout.root), "--yes") == 2
    printed = capsys.readouterr()
    assert "Allocation 1 of 'poly' is " in printed.err
    assert f"hpcsearch cancel {layout.root}" in printed.err
    assert layout.database.exists()
    layout.cancelled(1).touch()
    assert hpcsearch("rm", str(layout.root), "--yes") == 2
    printed = capsys.readouterr()
    assert "is being cancelled, so" in printed.err
    assert "Wait until it has ended, and try again." in printed.err


def test_a_submission_that_was_cut_off_long_ago_keeps_nothing(layout: Layout) -> None:
    change(layout, state="SUBMITTED", submitted_at=time.time() - 3600)
    assert hpcsearch("rm", str(layout.root), "--yes") == 0


def test_a_link_is_not_followed(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "workflows" / "short"
    link.symlink_to(layout.root)
    assert hpcsearch("rm", "short", "--yes", "--root", str(tmp_path / "workflows")) == 2
    assert f"hpcsearch rm {layout.root}" in capsys.readouterr().err
    assert link.is_symlink()
    assert layout.database.exists()


def test_what_cannot_be_read_is_left_to_its_owner(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    layout.database.write_text("no database at all, but long enough to be looked at")
    assert hpcsearch("rm", str(layout.root), "--yes") == 7
    assert f"rm -r {layout.root}" in capsys.readouterr().err
    assert layout.root.exists()


def test_what_cannot_be_deleted_is_named(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **options: None)
    assert hpcsearch("rm", str(layout.root), "--yes") == 7
    (rest,) = layout.root.parent.iterdir()
    assert f"rm -r {rest}" in capsys.readouterr().err
    assert rest.name.startswith(".poly.")  # out of sight at once, whatever becomes of its files


def test_a_folder_that_cannot_be_written(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    assert hpcsearch("rm", str(layout.root), "--yes") == 7
    assert "cannot be removed: Permission denied." in capsys.readouterr().err
    assert layout.database.exists()
