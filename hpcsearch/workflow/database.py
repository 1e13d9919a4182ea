"""Opening a workflow's database: SQLite in the workflow's directory, or another by URL.

SQLite runs with a rollback journal and ``synchronous=FULL``: what is committed survives the loss of power, and no file
is shared between hosts in a way that network file systems do not keep (as a write-ahead log would be).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import DatabaseError as SqlError
from sqlalchemy.pool import NullPool, StaticPool

from hpcsearch.errors import DatabaseError, SchemaVersionError
from hpcsearch.workflow import schema

#: How long one statement waits for another process's transaction before it gives up.
BUSY_TIMEOUT_S = 5.0

# Pages stay in memory until the commit: readers are locked out for the commit alone.
_WRITING = ("synchronous=FULL", "cache_spill=OFF")
_PRAGMAS: dict[str, tuple[str, ...]] = {"ro": (), "rw": _WRITING, "rwc": _WRITING}


def _sqlite_engine(path: Path, mode: str, busy_timeout_s: float) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=busy_timeout_s, isolation_level=None
        )
        try:
            for pragma in _PRAGMAS[mode]:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    pool: dict[str, Any] = {"poolclass": StaticPool if mode != "ro" else NullPool}
    engine = create_engine("sqlite+pysqlite://", creator=connect, **pool)
    begin = "BEGIN" if mode == "ro" else "BEGIN IMMEDIATE"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def writer(path: Path, *, create: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """An engine whose transactions take the write lock at their beginning.

    Raises:
        SchemaVersionError: the database was written by a newer hpcsearch.
        DatabaseError: there is no readable database at ``path``.
    """
    engine = _sqlite_engine(path, "rwc" if create else "rw", busy_timeout_s)
    if create:
        with writing(path):
            schema.metadata.create_all(engine)
    else:
        with reading(path):  # which checks the version, and needs no write lock for it
            pass
    return engine


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A read transaction that never writes, not even to roll back what a killed writer left.

    Keep it short: whoever prints must fetch into memory first, for a reader that stands still keeps the driver from
    committing. Where a killed writer left a hot journal, a private copy of database and journal is read instead.

    Raises:
        SchemaVersionError: the database was written by a newer hpcsearch.
        DatabaseError: there is no readable database at ``path``.
    """
    with _translated(path), contextlib.ExitStack() as stack:
        try:
            connection = _begin_reading(path, "ro", stack)
        except SqlError as error:
            if "readonly" not in str(error) and "unable to open" not in str(error):
                raise
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcsearch-")))
            try:
                copy = _copy(path, folder)
            except OSError:
                raise error from None  # it is not there, or not for this user
            connection = _begin_reading(copy, "rw", stack)
        _check_version(connection, path)
        yield connection


def _begin_reading(path: Path, mode: str, stack: contextlib.ExitStack) -> Connection:
    engine = _sqlite_engine(path, mode, BUSY_TIMEOUT_S)
    stack.callback(engine.dispose)
    connection = stack.enter_context(engine.connect())
    connection.execute(text("SELECT 1 FROM workflow")).first()
    return connection


def _copy(path: Path, folder: Path) -> Path:
    journal = path.with_name(path.name + "-journal")
    copy = folder / path.name
    # A journal is hot because its writer is dead, so both files stand still.
    if journal.exists():
        shutil.copyfile(journal, folder / journal.name)
    shutil.copyfile(path, copy)
    return copy


def _check_version(connection: Connection, path: Path) -> None:
    version = connection.execute(select(schema.workflow.c.schema_version)).scalar_one()
    if version > schema.SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path} was written by a newer hpcsearch (schema {version}; this one knows {schema.SCHEMA_VERSION}).",
            "Upgrade with 'pip install --upgrade hpcsearch', or use the environment that submitted the workflow.",
        )


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
    """For whoever writes and has nobody but the user to tell when it fails: it raises DatabaseError then."""
    return _translated(path, "written", "you may write to its folder")


@contextlib.contextmanager
def _translated(path: Path, done: str = "read", need: str = "the file exists, that you may read it") -> Iterator[None]:
    try:
        yield
    except SqlError as error:
        reason = str(error.orig) if error.orig is not None else str(error)
        if "no such column" in reason:
            raise SchemaVersionError(
                f"The workflow database {path} was written by an older version of hpcsearch ({reason}).",
                "Use the environment that submitted the workflow, or submit the search under another name.",
            ) from error
        raise DatabaseError(
            f"The workflow database {path} cannot be {done}: {reason}.",
            f"Check that {need}, and that its file system is not full.",
        ) from error
