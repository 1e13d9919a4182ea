"""The limits of a search that goes on: raised or lowered, against what it has done already."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from hpcsearch.errors import UsageError
from hpcsearch.evaluation import State
from hpcsearch.workflow import queries, schema


@dataclass(frozen=True)
class Limits:
    """With what a search ends: evaluations, and evaluations that succeeded; None for no limit."""

    max_evals: int | None
    max_success: int | None


def refuse_reached(max_success: int | None, succeeded: int) -> None:
    """Raises UsageError when as many have succeeded as are wanted."""
    if max_success is not None and max_success <= succeeded:
        raise UsageError(
            f"{_evaluations(succeeded)} succeeded already: --max-success {max_success} leaves nothing to do.",
            f"Type --max-success {succeeded + 1} or more.",
        )


def fit_budget(connection: Connection, max_evals: int) -> int:
    """Changes the budget; of the proposals that have never been started it takes back the latest, if it has no room.

    Returns:
        how many were taken back.

    Raises:
        UsageError: more have been started than that, or just as many and all of them have ended.
    """
    columns = schema.evaluation.c
    fresh = (columns.state == State.PROPOSED.value) & (columns.attempt == 0)
    ids = list(connection.execute(select(columns.id).where(fresh).order_by(columns.id.desc())).scalars())
    claimed = connection.execute(select(schema.workflow.c.claimed)).scalar_one()
    started = claimed - len(ids)
    if max_evals < started:
        raise UsageError(
            f"{_evaluations(started)} been started already: the budget cannot become {max_evals}.",
            f"Type --max-evals {started} or more.",
        )
    if max_evals == started and len(queries.unfinished(connection)) == len(ids):
        raise UsageError(
            f"{_evaluations(started)} been started and have ended: --max-evals {max_evals} leaves nothing to do.",
            f"Type --max-evals {started + 1} or more.",
        )
    surplus = ids[: max(0, claimed - max_evals)]
    _take_back(connection, surplus)
    connection.execute(update(schema.workflow).values(max_evals=max_evals, claimed=claimed - len(surplus)))
    return len(surplus)


def _take_back(connection: Connection, ids: list[int]) -> None:
    if ids:
        columns = schema.evaluation.c
        connection.execute(update(schema.evaluation).where(columns.id.in_(ids)).values(state=State.CANCELLED.value))
        event = {"attempt": 0, "allocation": 0, "state": State.CANCELLED.value, "at": time.time()}
        connection.execute(insert(schema.event), [{"evaluation": one, **event} for one in ids])


def _evaluations(count: int) -> str:
    return "1 evaluation has" if count == 1 else f"{count} evaluations have"
