"""Opening a workflow's database: versions, locks, and what a killed writer leaves."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from workflow_bed import commit, dump, new_database, take_lease

from hpcsearch.errors import DatabaseError, SchemaVersionError
from hpcsearch.workflow import database, queries, schema, store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    new_database(tmp_path, [{"x": 1.0}, {"x": 2.0}]).dispose()
    return tmp_path / "workflow.db"


def raise_version(path: Path) -> None:
    engine = database.writer(path)
    with engine.begin() as connection:
        connection.execute(schema.workflow.update().values(schema_version=schema.SCHEMA_VERSION + 1))
    engine.dispose()


def test_a_newer_database_is_refused_politely_and_untouched(path: Path) -> None:
    raise_version(path)
    before = path.read_bytes()
    newer = schema.SCHEMA_VERSION + 1
    with pytest.raises(SchemaVersionError, match=rf"schema {newer}; this one knows {schema.SCHEMA_VERSION}") as caught:
        database.writer(path)
    assert "Upgrade" in caught.value.hint
    with pytest.raises(SchemaVersionError), database.reading(path):
        pytest.fail("the block must not be entered")
    assert path.read_bytes() == before


def test_nothing_committed_is_lost_with_the_power(path: Path) -> None:
    engine = database.writer(path)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    engine.dispose()


def test_a_writer_has_the_lock_from_the_beginning(path: Path) -> None:
    one, other = (database.writer(path, busy_timeout_s=0.05) for _ in range(2))
    with one.begin(), pytest.raises(OperationalError, match="locked"), other.begin():
        pytest.fail("both have the lock")
    with other.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM evaluation")).scalar() == 2
    for engine in (one, other):
        engine.dispose()


def test_a_writer_waits_for_another(path: Path) -> None:
    begun = threading.Event()

    def hold() -> None:
        one = database.writer(path)
        with one.begin() as connection:
            connection.execute(schema.workflow.update().values(outcome="first"))
            begun.set()
            time.sleep(0.1)
        one.dispose()

    other = database.writer(path, busy_timeout_s=5.0)
    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(10.0)
    store.update_allocation(other, 1, state="RUNNING")
    assert dump(other)["workflow"][0][-1] == "first"
    thread.join()
    other.dispose()


def test_reading_never_writes(path: Path) -> None:
    with database.reading(path) as connection:
        assert len(queries.evaluations(connection)) == 2
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(schema.workflow.update().values(outcome="x"))


def test_a_reader_sees_one_state_of_things(path: Path) -> None:
    engine = database.writer(path, busy_timeout_s=0.05)
    token = take_lease(engine)
    with database.reading(path) as connection:
        assert len(queries.evaluations(connection)) == 2
        with pytest.raises(OperationalError, match="locked"):
            commit(engine, token, None, [{"x": 3.0}])
        assert len(queries.evaluations(connection)) == 2
    commit(engine, token, None, [{"x": 3.0}])
    with database.reading(path) as connection:
        assert len(queries.evaluations(connection)) == 3
    engine.dispose()


#: Writes into the file itself in the middle of a transaction, and is killed there.
KILLED_WRITER = """\
import os, signal, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE evaluation SET state = 'TORN'")
connection.executemany(
    "INSERT INTO event (evaluation, attempt, allocation, state, at) VALUES (1, 1, 1, ?, 0)", [("x" * 500,)] * 500
)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def torn(path: Path) -> Path:
    """The database with what a writer left that was killed in a transaction: a hot journal."""
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    journal = path.with_name("workflow.db-journal")
    assert journal.stat().st_size > 0
    unwary = closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True))
    with unwary as connection, pytest.raises(sqlite3.OperationalError):  # this is why it needs care
        connection.execute("SELECT * FROM evaluation")
    return path


@pytest.mark.filterwarnings("ignore:unclosed database")
def test_a_hot_journal_is_read_in_a_copy(torn: Path) -> None:
    journal = torn.with_name("workflow.db-journal")
    before = torn.read_bytes(), journal.read_bytes()
    with database.reading(torn) as connection:
        assert [row["state"] for row in queries.evaluations(connection)] == ["PROPOSED", "PROPOSED"]
    assert (torn.read_bytes(), journal.read_bytes()) == before


@pytest.mark.filterwarnings("ignore:unclosed database")
def test_a_hot_journal_is_rolled_back_by_the_next_writer(torn: Path) -> None:
    engine = database.writer(torn)
    assert [row[2] for row in dump(engine)["evaluation"]] == ["PROPOSED", "PROPOSED"]
    assert dump(engine)["event"] == []
    engine.dispose()
    assert not torn.with_name("workflow.db-journal").exists()


@pytest.mark.parametrize("content", [None, b"", b"this is no database at all" * 100])
def test_what_is_no_database_is_said_in_words(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "workflow.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"workflow\.db cannot be read"):
        database.writer(path)
    with pytest.raises(DatabaseError, match=r"workflow\.db cannot be read"), database.reading(path):
        pytest.fail("the block must not be entered")
    assert path.exists() is (content is not None)


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "50% of?it#s ü"
    folder.mkdir()
    new_database(folder, [{"x": 1.0}]).dispose()
    with database.reading(folder / "workflow.db") as connection:
        assert len(queries.evaluations(connection)) == 1
