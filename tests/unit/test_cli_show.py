"""``hpcsearch show``: all of one evaluation, from the database and its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_bed import hpcsearch
from workflow_bed import commit, ended, finish, new_database, started, take_lease

from hpcsearch.workflow import store
from hpcsearch.workflow.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """Evaluation 1 failed on n1 and finished on n2, 2 failed for good, 3 runs, 4 waits."""
    made = Layout(tmp_path / "workflows" / "poly")
    made.root.mkdir(parents=True)
    configurations = [{"x": 0.1 + 0.2, "act": "re\nlu"}, {"x": 2.0, "act": "\x1b[31mred"}, {"x": 3}, {"x": 4}]
    engine = new_database(made.root, configurations)
    token = take_lease(engine)
    lost = {"error_kind": "NodeLost", "error_message": "its agent was killed"}
    first = ended(1, node="n1", state="LOST", objective=None, final=False, failures=1, **lost)
    finish(engine, token, first)
    commit(engine, token, store.Batch(requeued=[{"evaluation": 1, "attempt": 1, "at": 1e9}]))
    finish(engine, token, ended(1, 2, node="n2", slot=3, failures=1, metadata=json.dumps({"loss": 0.125})))
    failure = {"error_kind": "ValueError", "error_message": "it diverged", "traceback": 'File "run.py", line 3\n  boom'}
    finish(engine, token, ended(2, state="FAILED", objective=None, failures=1, **failure))
    reports = [
        {"evaluation": 1, "attempt": 2, "step": float(step), "at": 1e9, "metrics": json.dumps({"acc": step / 10})}
        for step in range(25)
    ]
    commit(engine, token, store.Batch(started=[started(3)], reports=reports))
    engine.dispose()
    folder = made.evaluation(1)
    (folder / "saved").mkdir(parents=True)
    (folder / "log").write_text("begin\n" + "".join(f"line {n}\n" for n in range(50)) + "10%\r100%\r\n\x1b[2Jend")
    (folder / "saved" / "model.bin").write_bytes(b"1234")
    (folder / "away").symlink_to("/etc")
    yield made


def shown(layout: Layout, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    assert hpcsearch("show", str(layout.root), *more) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "\x1b" not in printed.out
    return printed.out


def test_one_that_was_stopped_has_a_last_value_and_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Layout(tmp_path / "workflows" / "stopped")
    made.root.mkdir(parents=True)
    engine = new_database(made.root, [{"x": 1.0}])
    why = {"error_kind": "Stopped", "error_message": "stopped by asha after 0.25"}
    finish(engine, take_lease(engine), ended(1, state="STOPPED", objective=0.25, **why))
    engine.dispose()
    lines = [line.split(maxsplit=1) for line in shown(made, capsys, "1").splitlines() if line]
    assert ["State", "STOPPED"] in lines
    assert ["Last", "value     0.25"] in lines
    assert ["Why", "stopped by asha after 0.25"] in lines


def test_one_that_took_several_slots_names_the_first_and_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Layout(tmp_path / "workflows" / "wide")
    made.root.mkdir(parents=True)
    engine = new_database(made.root, [{"x": 1.0}])
    finish(engine, take_lease(engine), ended(1, slot=2, slots=4))
    engine.dispose()
    assert "2, first of 4" in shown(made, capsys, "1")
    assert json.loads(shown(made, capsys, "1", "--format", "json"))["attempts"][0]["slots"] == 4


def test_all_of_a_finished_one(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(layout, capsys, "1")
    lines = page.splitlines()
    assert lines[0].split() == ["Evaluation", "1", "of", "poly"]
    assert "0.30000000000000004" in page  # every digit, so that it can be run again
    assert "re\\nlu" in page
    assert "loss  0.125" in page
    attempts = [line.split()[:4] for line in lines if line.startswith(("1  ", "2  "))][:2]
    assert attempts == [["1", "LOST", "n1", "0"], ["2", "FINISHED", "n2", "3"]]
    assert "NodeLost: its agent was killed" in page
    assert "Reports (the last 10 of 25)" in page
    assert "  2.4" in page
    assert "saved/model.bin" in page
    assert "passwd" not in page  # a link is not followed
    assert [line.strip() for line in lines[-3:]] == ["line 49", "100%", "\\x1b[2Jend"]
    assert "line 40" not in page
    assert f"hpcsearch logs {layout.root} 1" in page


def test_why_one_failed(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(layout, capsys, "2")
    assert "ValueError: it diverged" in page
    assert '  File "run.py", line 3\n    boom\n' in page
    assert "It has printed nothing." in page


@pytest.mark.parametrize(("identity", "state"), [("3", "RUNNING"), ("4", "PROPOSED")])
def test_one_without_an_end(layout: Layout, capsys: pytest.CaptureFixture[str], identity: str, state: str) -> None:
    page = shown(layout, capsys, identity)
    assert f"State          {state}\n" in page
    assert ("It has printed nothing." in page) is (state == "RUNNING")


def test_as_json(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(shown(layout, capsys, "1", "--format", "json"))
    assert values["configuration"] == {"x": 0.1 + 0.2, "act": "re\nlu"}
    assert [(one["state"], one["node"]) for one in values["attempts"]] == [("LOST", "n1"), ("FINISHED", "n2")]
    assert len(values["reports"]) == 25
    assert {"path": "saved/model.bin", "size_bytes": 4} in values["files"]
    assert values["started"][10] == "T"
    assert values["started"][-6] in "+-"
    assert json.loads(shown(layout, capsys, "2", "--format", "json"))["error"]["kind"] == "ValueError"


def test_times_are_in_the_readers_zone(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tz: Callable[[str], None]
) -> None:
    tz("UTC-05:30")  # POSIX: five and a half hours east
    assert "2001-09-09 07:16:40" in shown(layout, capsys, "1")
    assert '"at": "2001-09-09T07:16:40.000+05:30"' in shown(layout, capsys, "1", "--format", "json")


@pytest.fixture
def tz(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    import time

    before = os.environ.get("TZ")

    def change(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield change
    if before is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


@pytest.mark.parametrize(("identity", "code"), [("99", 3), ("0", 2), ("best", 2)])
def test_one_that_is_not_there(layout: Layout, capsys: pytest.CaptureFixture[str], identity: str, code: int) -> None:
    assert hpcsearch("show", str(layout.root), identity) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    if code == 3:
        assert "has no evaluation 99; it has 1 to 4." in printed.err
