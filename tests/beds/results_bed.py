"""A workflow's directory with results of every sort, for the tests of what is made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import update
from workflow_bed import ended, finish, new_database, take_lease

from hpcsearch.evaluation import Configuration, State
from hpcsearch.workflow import schema
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.store import Batch, commit

BEGIN_AT = 1_700_000_000.0
FAILURE: dict[str, Any] = {
    "state": State.FAILED.value,
    "objective": None,
    "error_kind": "ValueError",
    "error_message": "it diverged",
}

#: One of every kind: ``depth`` is inactive with tanh, ``mode`` has several types, and the last one has not begun.
CONFIGURATIONS: tuple[Configuration, ...] = (
    {"activation": "relu", "bias": True, "depth": 3, "lr": 0.1, "mode": 1, "units": 10},
    {"activation": "tanh", "bias": False, "lr": 1e-7, "mode": "auto", "units": 20},
    {"activation": "relu", "bias": True, "depth": 1, "lr": 1.0, "mode": 0.5, "units": 30},
    {"activation": "tanh", "bias": True, "lr": 0.5, "mode": True, "units": 40},
)
OUTCOMES: tuple[dict[str, Any], ...] = (
    {"objective": 0.25, "metadata": json.dumps({"accuracy": 0.5, "note": "a"})},
    FAILURE,
    {"objective": 0.75, "metadata": json.dumps({"accuracy": 1.0, "sizes": [1, 2]})},
)
REPORTS = ((1, None, {"loss": 2.0}), (3, 1.0, {"loss": 1.0, "epoch": 1}), (3, 2.0, {"loss": 0.5, "epoch": 2}))


def make(
    folder: Path,
    configurations: Sequence[Configuration] = CONFIGURATIONS,
    outcomes: Sequence[dict[str, Any]] = OUTCOMES,
    reports: Sequence[tuple[int, float | None, dict[str, Any]]] = REPORTS,
    *,
    minimize: bool = False,
) -> Layout:
    """The workflow ``poly`` in a folder; evaluation n began n seconds after the search and took half a second."""
    layout = Layout(folder / "poly")
    layout.root.mkdir(parents=True)
    engine = new_database(layout.root, configurations)
    token = take_lease(engine)
    names = sorted({name for configuration in configurations for name in configuration})
    with engine.begin() as connection:
        connection.execute(
            update(schema.workflow).values(names=json.dumps(names), minimize=int(minimize), started_at=BEGIN_AT)
        )
    rows = []
    for number, outcome in enumerate(outcomes, start=1):
        at = BEGIN_AT + number
        times = {"started_at": at, "ended_at": at + 0.5, "gathered_at": at + 1.0}
        rows.append(ended(number, **{**times, **outcome}))
    finish(engine, token, *rows)
    told = [
        {"evaluation": evaluation, "attempt": 1, "step": step, "at": BEGIN_AT + 9, "metrics": json.dumps(metrics)}
        for evaluation, step, metrics in reports
    ]
    commit(engine, token, 1, [Batch(reports=told)])
    engine.dispose()
    return layout
