"""Whether a folder's file system keeps what a workflow's database asks of it: locks, renames, and lasting commits."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpcsearch.doctor.finding import Finding, failed, look, ok

_TITLE = "database"

#: Seconds of one commit above which short evaluations wait for the disk.
_SLOW_COMMIT_S = 0.25
_LITTLE_SPACE_BYTES = 1 << 30

#: Another process that wants the lock at once; its exit code says whether it got it.
_RIVAL = """import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    sys.exit(10 if "locked" in str(error) else 11)
"""


def check_folder(root: Path) -> Finding:
    """Makes and removes a small database in ``root`` or, while that is not there, in the nearest folder above it."""
    folder = next(each for each in (root, *root.parents) if each.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".hpcsearch-doctor-", dir=folder) as name:
            return _probe(Path(name), folder)
    except OSError as error:
        return failed(
            _TITLE,
            f"Nothing can be written to {folder}: {error.strerror}.",
            "Name another folder with --root or $HPCSEARCH_ROOT.",
        )
    except sqlite3.Error as error:
        return failed(
            _TITLE,
            f"SQLite does not work in {folder}: {error}.",
            "Keep workflows on another file system: --root or $HPCSEARCH_ROOT.",
        )


def _probe(scratch: Path, folder: Path) -> Finding:
    if wrong := _renames(scratch):
        return failed(_TITLE, f"In {folder}, {wrong}.", "Keep workflows on another file system: --root.")
    file = scratch / "probe.db"
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE probe (value INTEGER)")
        commit_s = statistics.median(_commit_s(connection) for _ in range(3))
        connection.execute("BEGIN IMMEDIATE")
        rival = subprocess.run([sys.executable, "-I", "-c", _RIVAL, str(file)], check=False).returncode
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    if rival != 10:
        return failed(
            _TITLE,
            f"The file system of {folder} does not keep locks: two drivers could write to one database.",
            "Keep workflows on a file system with locks (on Lustre: mounted with flock): --root or $HPCSEARCH_ROOT.",
        )
    return _verdict(folder, commit_s)


def _verdict(folder: Path, commit_s: float) -> Finding:
    found = f"Locks and renames work in {folder}, a commit takes {commit_s * 1000:.0f} ms."
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE_BYTES:
        return look(_TITLE, f"{found} Only {free >> 20} MB are free there.", "Make room, or name another --root.")
    if commit_s > _SLOW_COMMIT_S:
        return look(_TITLE, found, "That is slow: evaluations go on meanwhile, but results show up late.")
    return ok(_TITLE, found)


def _commit_s(connection: sqlite3.Connection) -> float:
    start = time.perf_counter()
    connection.execute("INSERT INTO probe VALUES (1)")
    return time.perf_counter() - start


def _renames(scratch: Path) -> str:
    """What is wrong with renames; empty when they replace files, and refuse to replace a folder that holds any."""
    new, old = scratch / "new", scratch / "old"
    old.write_text("old")
    new.write_text("new")
    new.replace(old)
    if old.read_text() != "new" or new.exists():
        return "a rename does not replace a file"
    for name in ("first", "second"):
        (scratch / name).mkdir()
        (scratch / name / "file").touch()
    try:
        (scratch / "first").rename(scratch / "second")
    except OSError:
        return ""
    return "a rename replaces a folder that is in use"
