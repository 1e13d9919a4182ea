"""What the tests of a workflow's files and database start from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from hpcsearch.evaluation import Configuration, State
from hpcsearch.workflow import database, lease, schema, store

NO_FAILURE = {"error_kind": None, "error_message": None, "traceback": None}


def new_database(
    folder: Path, configurations: Iterable[Configuration] = (), *, max_evals: int | None = None, period_s: float = 5.0
) -> Engine:
    """A database in ``folder`` as submit leaves it, with one allocation."""
    engine = database.writer(folder / "workflow.db", create=True)
    row = {
        "name": "poly",
        "problem": "problem.py:Problem",
        "run": "model_run.py:run",
        "cwd": str(folder),
        "names": json.dumps(["x"]),
        "minimize": 0,
        "search": "random",
        "search_arguments": "{}",
        "max_evals": max_evals,
        "settings": "{}",
    }
    store.create(engine, row, period_s, configurations)
    store.add_allocation(engine, allocation_row(1))
    return engine


def allocation_row(number: int) -> dict[str, Any]:
    fixed = {"site": "local", "scheduler": "local", "queue": "local", "account": "none"}
    return {"number": number, **fixed, "nodes": 1, "walltime_s": 1800.0, "job_mode": "serial"}


def take_lease(engine: Engine, allocation: int = 1) -> str:
    with engine.connect() as connection:
        current = lease.holder(connection)
    token = lease.take(engine, allocation, os.getpid(), current)
    assert token is not None
    return token


def started(identity: int, attempt: int = 1, *, at: float | None = None) -> dict[str, Any]:
    """A row for ``Batch.started``."""
    place = {"allocation": 1, "node": "n1", "slot": 0, "nodes": None, "slots": 1}
    times = {"state": State.RUNNING.value, "started_at": time.time() if at is None else at}
    return {"evaluation": identity, "attempt": attempt, **place, **times}


def ended(identity: int, attempt: int = 1, *, final: bool = True, **changes: Any) -> dict[str, Any]:
    """A row for ``Batch.ended``: finished with objective 1, unless told otherwise."""
    now = time.time()
    row = {
        **started(identity, attempt, at=now - 0.5),
        "state": State.FINISHED.value,
        "failures": 0,
        "ended_at": now,
        "duration_s": 0.5,
        "objective": 1.0,
        "metadata": None,
        **NO_FAILURE,
        "gathered_at": now if final else None,
    }
    return row | changes


def commit(
    engine: Engine, token: str, batch: store.Batch | None = None, configurations: Sequence[Configuration] = ()
) -> list[tuple[int, Configuration]]:
    """One batch and new configurations, as allocation 1."""
    return store.commit(engine, token, 1, [batch or store.Batch()], configurations)


def finish(engine: Engine, token: str, *rows: dict[str, Any]) -> None:
    """Commits the beginning and the end of attempts in one batch."""
    begun = [started(row["evaluation"], row["attempt"], at=row["started_at"]) for row in rows]
    commit(engine, token, store.Batch(started=begun, ended=list(rows)))


def dump(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds, but for the lease's count of commits."""
    with engine.begin() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in schema.metadata.sorted_tables
        }
