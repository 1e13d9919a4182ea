"""Copies of a script's folder: what is in them, and that nothing leads back to the user's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcsearch.errors import UsageError
from hpcsearch.script import copying
from hpcsearch.script.copying import SHARED_FROM_BYTES, fill, parse_size, protect, take_copy

LIMIT = 10 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "user"
    for name in ("data", "logs", ".git", "__pycache__", "venv", "workflows/old", "results/run1"):
        (made / name).mkdir(parents=True)
    for name in ("train.py", "data/small.csv", ".git/config", "__pycache__/x.pyc", "venv/pyvenv.cfg", "venv/big"):
        (made / name).write_text(name)
    for name in ("workflows/old/db", "results/run1/model.bin", "notes.tmp"):
        (made / name).write_text(name)
    (made / "data/large.bin").write_bytes(b"x" * SHARED_FROM_BYTES)
    (made / "train.py").chmod(0o755)
    (made / ".hpcsearchignore").write_text("# what it does not need\n*.tmp\nresults/\n")
    return made


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_copy_has_what_the_script_needs(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    total = take_copy(folder, copy, LIMIT, folder / "workflows")
    assert names(copy) == {"data", "data/small.csv", "data/large.bin", "logs", "train.py"}
    assert total == sum((copy / name).stat().st_size for name in ("data/small.csv", "data/large.bin", "train.py"))
    assert os.access(copy / "train.py", os.X_OK)


def test_a_folder_that_is_too_large_is_refused_with_what_makes_it_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the largest: data/large\.bin \(1\.0 MB\)") as caught:
        take_copy(folder, tmp_path / "copy", 1000, tmp_path)
    assert ".hpcsearchignore" in caught.value.hint and "--copy-limit 3M" in caught.value.hint
    assert not (tmp_path / "copy").exists()


def test_links_out_of_the_folder_stay_links(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "inside").symlink_to("data/small.csv")
    (folder / "outside").symlink_to("../elsewhere")
    (folder / "absolute").symlink_to(folder / "train.py")
    copy = tmp_path / "copy"
    take_copy(folder, copy, LIMIT, tmp_path)
    assert (copy / "inside").resolve() == copy / "data/small.csv"
    assert (copy / "outside").resolve() == tmp_path / "elsewhere"
    assert (copy / "absolute").resolve() == folder / "train.py"


def test_evaluations_share_large_files_that_they_cannot_write_and_nothing_with_the_user(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_FICLONE", 0)  # as where the file system has no reflinks
    copy, work = tmp_path / "copy", tmp_path / "work"
    take_copy(folder, copy, LIMIT, folder / "workflows")
    protect(copy)
    fill(copy, work)
    assert names(work) == names(copy)
    assert (work / "data/large.bin").samefile(copy / "data/large.bin")
    assert (work / "data/large.bin").stat().st_mode & 0o222 == 0
    assert not (work / "data/small.csv").samefile(copy / "data/small.csv")
    assert all((folder / name).stat().st_nlink == 1 for name in ("train.py", "data/large.bin", "data/small.csv"))
    assert os.access(folder / "data/large.bin", os.W_OK) and os.access(work / "data/small.csv", os.W_OK)


def test_what_an_attempt_has_left_stays(folder: Path, tmp_path: Path) -> None:
    copy, work = tmp_path / "copy", tmp_path / "work"
    take_copy(folder, copy, LIMIT, folder / "workflows")
    fill(copy, work)
    (work / "data/small.csv").write_text("changed")
    (work / "checkpoint").write_text("3")
    (work / "train.py").unlink()
    fill(copy, work)
    assert (work / "data/small.csv").read_text() == "changed" and (work / "checkpoint").exists()
    assert (work / "train.py").read_text() == "train.py"


@pytest.mark.parametrize(
    ("text", "count"), [("500M", 500 << 20), ("2G", 2 << 30), ("1.5GB", 3 << 29), ("7", 7 << 20), ("8k", 8 << 10)]
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "G", "0M", "-1G", "3X", "many", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)
