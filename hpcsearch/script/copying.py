"""Copies of a script's folder: one for the workflow, so that later edits change nothing, and one for each evaluation.

Where the file system can share what two files have in common until one is written to (reflinks), a copy takes no
space. Elsewhere small files are copied, and large ones are hard links to the workflow's copy, which is not writable.
The user's own files are never linked to.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hpcsearch.errors import UsageError

IGNORE_FILES = (".hpcsearchignore", ".studioml_ignore")

#: What no script needs: patterns like those in an ignore file.
_ALWAYS = (".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", *IGNORE_FILES)

#: From this size on (bytes), evaluations share a file of the workflow's copy.
SHARED_FROM_BYTES = 1 << 20

_FICLONE = 0x40049409  # ioctl: this file has that file's content, shared


def take_copy(folder: Path, copy: Path, limit_bytes: int, besides: Path) -> int:
    """Copies a script's folder, without what its ignore file names; tells how many bytes that are.

    A symbolic link that leads out of the folder still leads there: so large data need not be copied.

    Args:
        folder: the user's.
        copy: does not exist yet.
        limit_bytes: more than this is refused.
        besides: a folder that is not copied should it be inside.

    Raises:
        UsageError: it is too large, or cannot be read.
    """
    files = dict(_listed(folder, _patterns(folder), besides))
    sizes = {path: (folder / path).lstat().st_size for path, kind in files.items() if kind == "file"}
    total = sum(sizes.values())
    if total > limit_bytes:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        shown = ", ".join(f"{path} ({_size(sizes[path])})" for path in largest)
        raise UsageError(
            f"The script's folder, {folder}, has {_size(total)}, and every search keeps a copy of it; the largest: "
            f"{shown}.",
            f"Name what the script does not need in {folder / IGNORE_FILES[0]}, one pattern a line; put large data "
            f"elsewhere with a symbolic link to it; or type --copy-limit {_size(total + (1 << 20), exact=False)}.",
        )
    copy.mkdir()
    for path, kind in files.items():
        _COPIERS[kind](folder / path, copy / path, folder)
    return total


def fill(copy: Path, work: Path) -> None:
    """Adds to ``work`` what the workflow's copy has and it does not have yet."""
    work.mkdir(mode=0o700, exist_ok=True)
    for path, kind in _listed(copy, (), copy.parent / "none"):
        source, target = copy / path, work / path
        if os.path.lexists(target):
            continue
        if kind != "file":
            _COPIERS[kind](source, target, copy)
        elif source.stat().st_size < SHARED_FROM_BYTES or not _linked(source, target):
            _copy_file(source, target, copy)


def protect(copy: Path) -> None:
    """Takes the right to write from the files of a copy that evaluations may share."""
    for path, kind in _listed(copy, (), copy.parent / "none"):
        if kind == "file" and (copy / path).stat().st_size >= SHARED_FROM_BYTES:
            file = copy / path
            file.chmod(file.stat().st_mode & ~0o222)


def parse_size(text: str) -> int:
    """Bytes in ``500M``, ``2G`` or ``2GB``; without a letter, megabytes. Raises ValueError."""
    number, letter = text.strip().upper().removesuffix("B"), "M"
    if number and number[-1] in _UNITS:
        number, letter = number[:-1], number[-1]
    value = float(number) * _UNITS[letter]
    if not 0 < value < 1 << 60:
        raise ValueError(text)
    return int(value)


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _size(count: int, exact: bool = True) -> str:
    unit = next((unit for unit in "TG" if count >= _UNITS[unit]), "M")
    return f"{count / _UNITS[unit]:.1f} {unit}B" if exact else f"{count // _UNITS[unit] + 1}{unit}"


def _patterns(folder: Path) -> tuple[str, ...]:
    lines = [
        line.strip()
        for name in IGNORE_FILES
        if (folder / name).is_file()
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    return (*_ALWAYS, *(line.strip("/") for line in lines if line and not line.startswith("#")))


def _listed(folder: Path, patterns: tuple[str, ...], besides: Path) -> Iterator[tuple[str, str]]:
    """Relative path and kind of what is in a folder and not ignored; a folder before what is in it."""
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"{folder / inside} cannot be read: {error.strerror}.", "Let it be readable.") from None
        for entry in entries:
            path = os.path.join(inside, entry.name)  # noqa: PTH118 - Path is slow, and there may be many
            if any(fnmatch.fnmatch(entry.name, one) or fnmatch.fnmatch(path, one) for one in patterns):
                continue
            if entry.is_symlink():
                yield path, "link"
            elif entry.is_file():
                yield path, "file"
            elif entry.is_dir() and not _left_out(Path(entry.path), besides):
                yield path, "folder"
                pending.append(path)


def _left_out(folder: Path, besides: Path) -> bool:
    return folder == besides or (folder / "pyvenv.cfg").exists()  # a virtual environment works in its place alone


def _copy_file(source: Path, target: Path, _folder: Path) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:  # this file system, or this pair of them, cannot
            shutil.copyfileobj(read, written, 1 << 20)
    target.chmod(source.stat().st_mode & 0o777 | 0o600)


def _copy_link(source: Path, target: Path, folder: Path) -> None:
    leads_to = source.readlink()
    inside = not leads_to.is_absolute() and source.resolve().is_relative_to(folder.resolve())
    target.symlink_to(leads_to if inside else source.resolve())


def _make_folder(_source: Path, target: Path, _folder: Path) -> None:
    target.mkdir(mode=0o700)


_COPIERS = {"file": _copy_file, "link": _copy_link, "folder": _make_folder}


def _linked(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True
