"""``hpcsearch logs``: which file is shown, from which line on, and what following it means."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_bed import hpcsearch
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.cli.main import INTERRUPTED
from hpcsearch.monitor import follow
from hpcsearch.monitor.follow import read_files, start_of_last_lines
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


@pytest.fixture
def layout(make_workflow: MakeWorkflow) -> Layout:
    """One evaluation that has ended, one that has not; everything has printed something."""
    made = make_workflow(objectives=(0.5,), proposed=1)
    made.evaluation(1).mkdir(parents=True)
    made.output(1).write_bytes(b"one\ntwo\n\xffthree")
    made.output(1, rank=3).write_bytes(b"rank three\n")
    made.log.write_text("the driver\n")
    (made.allocation(1) / "stdout").write_text("out\n")
    (made.allocation(1) / "stderr").write_text("err\n")
    return made


def end(layout: Layout) -> None:
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, state="ENDED")
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("1",), b"one\ntwo\n\xffthree"),
        (("1", "-n", "2"), b"two\n\xffthree"),
        (("1", "-f"), b"one\ntwo\n\xffthree"),  # it has ended, and so does this
        (("1", "--rank", "3"), b"rank three\n"),
        (("1", "--rank", "0"), b"one\ntwo\n\xffthree"),
        ((), b"the driver\n"),
        (("--allocation", "1"), b"out\nerr\n"),
    ],
)
def test_what_is_shown(
    layout: Layout, capfdbinary: pytest.CaptureFixture[bytes], arguments: tuple[str, ...], expected: bytes
) -> None:
    assert hpcsearch("logs", str(layout.root), *arguments) == 0
    assert capfdbinary.readouterr() == (expected, b"")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("2",), 0, "Evaluation 2 of 'poly' has printed nothing yet."),
        (("9",), 3, "has no evaluation 9; it has 1 to 2."),
        (("-a", "9"), 3, "has no allocation 9; it has 1."),
        (("1", "-a", "1"), 2, "each have their own output"),
    ],
)
def test_what_is_not_there(
    layout: Layout, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, expected: str
) -> None:
    assert hpcsearch("logs", str(layout.root), *arguments) == code
    printed = capsys.readouterr()
    assert expected in printed.err
    assert printed.out == ""


def test_a_log_that_cannot_be_read(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    layout.output(2).mkdir(parents=True)
    assert hpcsearch("logs", str(layout.root), "2") == 7
    assert "log cannot be read: Is a directory." in capsys.readouterr().err


def following(layout: Layout, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hpcsearch.cli", "logs", str(layout.root), "-f", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_following_a_driver_until_its_allocation_ends(layout: Layout) -> None:
    with following(layout) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"the driver\n"
        with layout.log.open("a") as log:
            log.write("goes on\n")
        assert process.stdout.readline() == b"goes on\n"
        end(layout)
        assert process.stdout.read() == b""
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("arguments", [(), ("1",), ("2",), ("--allocation", "1")])
def test_following_a_driver_that_has_died_ends(layout: Layout, arguments: tuple[str, ...]) -> None:
    (layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    dead = dataclasses.replace(ProcessId.of(os.getpid()), start=1)
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, state="RUNNING", scheduler_id=str(dead))
    engine.dispose()
    with following(layout, *arguments) as process:
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_ctrl_c_ends_following_without_a_word(layout: Layout) -> None:
    with following(layout, "-n", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait() == INTERRUPTED


def test_following_asks_no_scheduler(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("hpcsearch.schedulers.status", lambda *arguments: asked.append(arguments) or {})
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, scheduler_id="7", state="ENDED")
    engine.dispose()
    assert hpcsearch("logs", str(layout.root), "-f") == 0
    assert not asked


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LOOK_S", 0.0)
    monkeypatch.setattr(follow, "_ASK_S", 0.0)


def test_a_file_that_comes_late_is_begun_anew_and_goes(tmp_path: Path, no_waiting: None) -> None:
    """As tail -F: what is written into the file of that name is shown, whichever file that is."""
    path = tmp_path / "log"
    fresh = tmp_path / "fresh"
    fresh.write_text("another\n")

    def replace() -> None:
        with path.open("a") as log:
            log.write("rest\n")
        fresh.replace(path)

    turns = iter([lambda: path.write_text("first\n"), lambda: path.write_text("new\n"), replace, path.unlink])

    def ended() -> bool:
        turn = next(turns, None)
        if turn is not None:
            turn()
        return turn is None

    assert b"".join(read_files([path], None, ended)) == b"first\nnew\nrest\nanother\n"


def test_what_is_written_with_the_end_is_still_shown(tmp_path: Path, no_waiting: None) -> None:
    path = tmp_path / "log"

    def ended() -> bool:
        path.write_text("last words\n")
        return True

    assert b"".join(read_files([path], None, ended)) == b"last words\n"


@given(st.lists(st.binary(max_size=3), max_size=8), st.integers(1, 10), st.integers(1, 5))
def test_the_last_lines_are_those_that_tail_shows(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], lines: int, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"\n".join(parts))
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(follow, "_BLOCK", block)
        file.seek(start_of_last_lines(file, lines))
        assert file.read() == b"".join(io.BytesIO(path.read_bytes()).readlines()[-lines:])
