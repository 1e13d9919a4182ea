"""What is written to a workflow's database: its creation, proposals, results, allocations.

Every write of a driver goes through a transaction that first checks the driver's lease (see ``lease``); so a driver
that was stopped, and woke after another had taken over, writes nothing.
"""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Insert, Update, bindparam, func, insert, literal, select, update

from hpcsearch.evaluation import Configuration, State, check_transition
from hpcsearch.workflow import schema
from hpcsearch.workflow.lease import fence

Row = dict[str, Any]


@dataclass
class Batch:
    """Rows of one group commit, as the driver gathered them; those of ``ended`` tell all of an attempt's end."""

    started: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    requeued: list[Row] = field(default_factory=list)
    reports: list[Row] = field(default_factory=list)
    nodes: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.started or self.ended or self.requeued or self.reports or self.nodes)


def create(
    engine: Engine, values: Mapping[str, Any], lease_period_s: float, configurations: Iterable[Configuration]
) -> None:
    """Fills a new database: the workflow's row, a free lease and the initial design, as evaluations 1, 2, ..."""
    with engine.begin() as connection:
        connection.execute(
            insert(schema.workflow).values(
                id=1, schema_version=schema.SCHEMA_VERSION, created_at=time.time(), next_id=1, claimed=0, **values
            )
        )
        connection.execute(insert(schema.lease).values(id=1, counter=0, period_s=lease_period_s))
        _propose(connection, list(configurations))


def _propose(connection: Connection, configurations: Sequence[Configuration]) -> list[tuple[int, Configuration]]:
    columns = schema.workflow.c
    budget = connection.execute(select(columns.next_id, columns.claimed, columns.max_evals).with_for_update()).one()
    room = len(configurations) if budget.max_evals is None else max(0, budget.max_evals - budget.claimed)
    accepted = list(enumerate(configurations[:room], start=budget.next_id))
    if not accepted:
        return []
    connection.execute(
        update(schema.workflow).values(next_id=budget.next_id + len(accepted), claimed=budget.claimed + len(accepted))
    )
    now = time.time()
    _ADD_EVALUATION.run(
        connection,
        [
            {
                "id": number,
                "configuration": json.dumps(configuration),
                "state": State.PROPOSED.value,
                "proposed_at": now,
                "attempt": 0,
                "failures": 0,
            }
            for number, configuration in accepted
        ],
    )
    return accepted


_evaluation, _attempt = schema.evaluation, schema.attempt


def _set(names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names.split()}


class _Prepared:
    """A statement that is compiled once, for thousands of rows as dictionaries: the driver's hot path."""

    def __init__(self, statement: Insert | Update) -> None:
        self._statement = statement
        self._by_dialect: dict[str, tuple[str, Callable[[Row], tuple[Any, ...]]]] = {}

    def _compiled(self, dialect: Dialect) -> tuple[str, Callable[[Row], tuple[Any, ...]]]:
        if dialect.name not in self._by_dialect:
            compiled = self._statement.compile(dialect=dialect)
            self._by_dialect[dialect.name] = str(compiled), operator.itemgetter(*(compiled.positiontup or ()))
        return self._by_dialect[dialect.name]

    def run(self, connection: Connection, rows: list[Row]) -> None:
        """Executes the statement for each row; extra values in a row are passed over."""
        if rows:
            text, values = self._compiled(connection.dialect)
            connection.exec_driver_sql(text, [values(row) for row in rows])


_START_EVALUATION = _Prepared(
    update(_evaluation)
    .where(_evaluation.c.id == bindparam("evaluation"))
    .values(_set("state attempt allocation node slot nodes slots started_at"))
)
_END_EVALUATION = _Prepared(
    update(_evaluation)
    .where(_evaluation.c.id == bindparam("evaluation"))
    .values(
        _set(
            "state attempt failures allocation node slot nodes slots started_at ended_at duration_s objective "
            "metadata error_kind error_message traceback gathered_at"
        )
    )
)
_REQUEUE_EVALUATION = _Prepared(
    update(_evaluation).where(_evaluation.c.id == bindparam("evaluation")).values(_set("state"))
)
_ADD_ATTEMPT = _Prepared(
    insert(_attempt).values(
        _set("evaluation allocation token node slot nodes slots state started_at ended_at error_kind error_message")
        | {"number": bindparam("attempt")}
    )
)
_END_ATTEMPT = _Prepared(
    update(_attempt)
    .where(_attempt.c.evaluation == bindparam("evaluation"), _attempt.c.number == bindparam("attempt"))
    .values(_set("state ended_at error_kind error_message"))
)
_ADD_EVENT = _Prepared(insert(schema.event).values(_set("evaluation attempt allocation state at")))
_ADD_REPORT = _Prepared(insert(schema.report).values(_set("evaluation attempt step at metrics")))
_ADD_EVALUATION = _Prepared(insert(_evaluation).values(_set("id configuration state proposed_at attempt failures")))


def commit(
    engine: Engine, token: str, allocation: int, batches: Iterable[Batch], configurations: Sequence[Configuration] = ()
) -> list[tuple[int, Configuration]]:
    """Writes batches in their order, and claims budget and ids for new configurations: all of it or nothing.

    What is tried again within a batch must not begin again before the next one.

    Returns:
        (id, configuration) of those new ones that the budget still had room for: the first ones. They are PROPOSED.

    Raises:
        LeaseLostError: the token is no longer valid; nothing was written.
    """
    with engine.begin() as connection:
        fence(connection, token)
        for batch in batches:
            _write_batch(connection, token, allocation, batch)
        return _propose(connection, configurations) if configurations else []


def _write_batch(connection: Connection, token: str, allocation: int, batch: Batch) -> None:
    over = {(row["evaluation"], row["attempt"]) for row in batch.ended}
    begun = {(row["evaluation"], row["attempt"]) for row in batch.started}
    # What began and ended within one batch needs only its end in the evaluation's row, and one row in attempt.
    started = [row for row in batch.started if (row["evaluation"], row["attempt"]) not in over]
    closed = [row for row in batch.ended if (row["evaluation"], row["attempt"]) not in begun]
    whole = [row for row in batch.ended if (row["evaluation"], row["attempt"]) in begun]
    no_end = {"ended_at": None, "error_kind": None, "error_message": None}
    requeued = [row | {"state": State.PROPOSED.value, "allocation": allocation} for row in batch.requeued]
    _START_EVALUATION.run(connection, started)
    _ADD_ATTEMPT.run(connection, [row | no_end | {"token": token} for row in started])
    _ADD_ATTEMPT.run(connection, [row | {"token": token} for row in whole])
    _END_EVALUATION.run(connection, batch.ended)
    _END_ATTEMPT.run(connection, closed)
    _REQUEUE_EVALUATION.run(connection, requeued)
    _ADD_EVENT.run(connection, [row | {"at": row["started_at"]} for row in batch.started])
    _ADD_EVENT.run(connection, [row | {"at": row["ended_at"]} for row in batch.ended])
    _ADD_EVENT.run(connection, requeued)
    _ADD_REPORT.run(connection, batch.reports)
    for row in batch.nodes:
        _write_node(connection, allocation, row)


def _write_node(connection: Connection, allocation: int, row: Row) -> None:
    table = schema.node
    chosen = update(table).where(table.c.allocation == allocation, table.c.name == row["name"]).values(row)
    if connection.execute(chosen).rowcount == 0:
        connection.execute(insert(table).values(allocation=allocation, **row))


def describe_problem(engine: Engine, token: str, names: Sequence[str], minimize: bool) -> None:
    """Records what the problem says of itself, where submit did not import it."""
    with engine.begin() as connection:
        fence(connection, token)
        connection.execute(update(schema.workflow).values(names=json.dumps(list(names)), minimize=int(minimize)))


def begin_allocation(engine: Engine, token: str, allocation: int, deadline_at: float) -> None:
    """An allocation's driver begins: what an earlier driver had running when it ended is to be run again."""
    now = time.time()
    table = schema.evaluation
    with engine.begin() as connection:
        fence(connection, token)
        for old, new in ((State.RUNNING, State.INTERRUPTED), (State.INTERRUPTED, State.PROPOSED)):
            check_transition(old, new)
            chosen = select(table.c.id, table.c.attempt, literal(allocation), literal(new.value), literal(now))
            rows = chosen.where(table.c.state == old.value)
            connection.execute(
                insert(schema.event).from_select(["evaluation", "attempt", "allocation", "state", "at"], rows)
            )
            connection.execute(update(table).where(table.c.state == old.value).values(state=new.value))
        connection.execute(
            update(_attempt)
            .where(_attempt.c.state == State.RUNNING.value)
            .values(state=State.INTERRUPTED.value, ended_at=now)
        )
        connection.execute(
            update(schema.workflow).values(
                started_at=func.coalesce(schema.workflow.c.started_at, now), finished_at=None, outcome=None
            )
        )
        connection.execute(
            update(schema.allocation)
            .where(schema.allocation.c.number == allocation)
            .values(
                state="RUNNING",
                started_at=func.coalesce(schema.allocation.c.started_at, now),
                deadline_at=deadline_at,
                ended_at=None,
                outcome=None,
            )
        )


def end_allocation(engine: Engine, token: str, allocation: int, outcome: str, finished: bool) -> None:
    """An allocation's driver ends in good order; ``finished`` tells that the search has nothing left to do."""
    now = time.time()
    with engine.begin() as connection:
        fence(connection, token)
        connection.execute(
            update(schema.allocation)
            .where(schema.allocation.c.number == allocation)
            .values(state="ENDED", ended_at=now, outcome=outcome)
        )
        connection.execute(update(schema.workflow).values(outcome=outcome, finished_at=now if finished else None))


def add_allocation(engine: Engine, values: Mapping[str, Any]) -> None:
    """Records an allocation that is about to be submitted."""
    with engine.begin() as connection:
        connection.execute(insert(schema.allocation).values(state="SUBMITTED", submitted_at=time.time(), **values))


def update_allocation(engine: Engine, number: int, **values: Any) -> None:
    """Changes an allocation's row from outside its driver: its scheduler id, or that it never came to run."""
    with engine.begin() as connection:
        connection.execute(update(schema.allocation).where(schema.allocation.c.number == number).values(**values))


def next_allocation(connection: Connection) -> int:
    """The number of the next allocation: they count from 1."""
    highest = connection.execute(select(func.max(schema.allocation.c.number))).scalar()
    return int(highest or 0) + 1


def change_budget(engine: Engine, max_evals: int | None) -> None:
    """Sets the budget of evaluations; a search that had ended for want of it may go on."""
    with engine.begin() as connection:
        connection.execute(update(schema.workflow).values(max_evals=max_evals, finished_at=None, outcome=None))
