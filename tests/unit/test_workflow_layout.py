"""Where things lie, and that a directory comes to be whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.errors import DatabaseError, NameTakenError, NotFoundError, UsageError
from hpcsearch.workflow import layout
from hpcsearch.workflow.layout import Layout


def make(root: Path, name: str) -> Layout:
    made = Layout(root / name)
    with layout.new_directory(made) as draft:
        draft.database.write_bytes(b"")
    return made


def test_every_file_has_its_place(tmp_path: Path) -> None:
    here = Layout(tmp_path / "poly")
    assert here.name == "poly"
    files = [here.database, here.results, here.arrays, here.log, here.plan(2), here.evaluation(7)]
    assert [str(file.relative_to(here.root)) for file in files] == [
        "workflow.db",
        "results.csv",
        "results.h5",
        "hpcsearch.log",
        "allocations/2/plan.json",
        "evaluations/7",
    ]


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_plain_names_are_taken(name: str) -> None:
    assert layout.check_name(name) == name


@given(st.text(max_size=8).filter(lambda text: not all(c.isascii() and (c.isalnum() or c in "._-") for c in text)))
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        layout.check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-n", "a/b", "a b", "a\n", "a" * 101, "é", "a;rm"])
def test_names_that_would_do_harm_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        layout.check_name(name)


def test_the_folder_of_workflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    assert layout.workflows_root() == tmp_path / "workflows"
    monkeypatch.setenv("HPCSEARCH_ROOT", "elsewhere")
    assert layout.workflows_root() == tmp_path / "elsewhere"
    assert layout.workflows_root("given") == tmp_path / "given"


def test_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = make(tmp_path / "workflows", "poly")
    other = make(tmp_path / "elsewhere", "other")
    assert layout.find_layout("poly") == made
    assert layout.find_layout("elsewhere/other") == other
    assert layout.find_layout(str(other.root), root="workflows") == other
    assert layout.find_layout("other", root="elsewhere") == other
    with pytest.raises(NotFoundError, match=r"'polu'.*poly"):
        layout.find_layout("polu")
    with pytest.raises(NotFoundError, match="none yet"):
        layout.find_layout("poly", root=tmp_path / "nothing")


def test_what_is_listed(tmp_path: Path) -> None:
    assert layout.list_layouts(tmp_path / "nothing") == []
    made = [make(tmp_path, name) for name in ("b", "a", "c")]
    (tmp_path / "empty").mkdir()
    draft = tmp_path / ".d.1234"
    draft.mkdir()
    (draft / "workflow.db").touch()
    assert layout.list_layouts(tmp_path) == sorted(made, key=lambda one: one.name)


def test_a_directory_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    made = Layout(tmp_path / "workflows" / "poly")
    with layout.new_directory(made) as draft:
        assert not made.root.exists()
        assert draft.root.parent == made.root.parent
        draft.database.write_bytes(b"content")
        assert layout.list_layouts(tmp_path / "workflows") == []
    assert made.database.read_bytes() == b"content"
    assert made.root.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "workflows") == ["poly"]


def test_nothing_stays_of_one_that_failed(tmp_path: Path) -> None:
    made = Layout(tmp_path / "poly")
    with pytest.raises(KeyboardInterrupt), layout.new_directory(made) as draft:
        draft.database.write_bytes(b"content")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_taken_is_refused_and_untouched(tmp_path: Path) -> None:
    made = make(tmp_path, "poly")
    made.database.write_bytes(b"first")
    with pytest.raises(NameTakenError, match="'poly' exists already") as caught, layout.new_directory(made):
        pytest.fail("the block must not be entered")
    assert f"hpcsearch resume {made.root}" in caught.value.hint and caught.value.exit_code == 2
    assert made.database.read_bytes() == b"first" and os.listdir(tmp_path) == ["poly"]


def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(NameTakenError), layout.new_directory(Layout(tmp_path / "poly")) as draft:
        draft.database.write_bytes(b"second")
        make(tmp_path, "poly").database.write_bytes(b"first")
    assert (tmp_path / "poly" / "workflow.db").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["poly"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DatabaseError, match="cannot be made") as caught,
        layout.new_directory(Layout(tmp_path / "file/poly")),
    ):
        pytest.fail("the block must not be entered")
    assert "--root" in caught.value.hint


RACE = """\
import sys
from pathlib import Path
from hpcsearch.errors import NameTakenError
from hpcsearch.workflow.layout import Layout, new_directory

number, root = sys.argv[1], Path(sys.argv[2])
for round in range(20):
    sys.stdin.readline()
    try:
        with new_directory(Layout(root / f"w{round}")) as draft:
            draft.database.write_text(number)
        print("made", flush=True)
    except NameTakenError:
        print("refused", flush=True)
"""


def test_of_two_at_the_same_instant_one_succeeds(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(number), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for number in range(2)
    ]
    try:
        for round_number in range(20):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("go\n")
            words = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
            assert sorted(words) == ["made", "refused"]
            winner = (tmp_path / f"w{round_number}" / "workflow.db").read_text()
            assert winner == str(words.index("made"))
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert len(os.listdir(tmp_path)) == 20


def test_a_workflow_is_removed(tmp_path: Path) -> None:
    made = make(tmp_path, "poly")
    made.evaluation(3).mkdir(parents=True)
    layout.remove_directory(made)
    assert os.listdir(tmp_path) == []
    make(tmp_path, "poly")  # the name is free again


def test_a_workflow_that_is_closed_to_the_user_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poly").mkdir(mode=0)
    if not os.geteuid():  # who may enter any folder
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DatabaseError, match=rf"poly is closed to you: it belongs to user {os.geteuid()}\."):
        layout.find_layout("poly", tmp_path)
