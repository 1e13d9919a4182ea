"""A workflow as a study of Optuna in memory, which optuna-dashboard shows; it follows the database.

The names are Optuna's: a trial is an evaluation, a pruned one was STOPPED.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import optuna
import optuna_dashboard
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import RowMapping, or_, select

from hpcsearch.dashboards.serving import Application
from hpcsearch.evaluation import State
from hpcsearch.figures.scale import SAMPLE, logarithmic
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout

_STATES: Mapping[State, TrialState] = {
    State.RUNNING: TrialState.RUNNING,
    State.FINISHED: TrialState.COMPLETE,
    State.STOPPED: TrialState.PRUNED,
    **dict.fromkeys((State.FAILED, State.TIMED_OUT, State.LOST, State.CANCELLED), TrialState.FAIL),
}

_COLUMNS = (
    *("id", "configuration", "state", "objective", "metadata", "node", "error_kind", "error_message"),
    *("started_at", "ended_at", "gathered_at"),
)

#: So many of the best ones are shown in any case.
_BEST = 500

_evaluation, _report = schema.evaluation.c, schema.report.c


class OptunaMirror:
    """The study, and the application that shows it. Where a value is new to its range, the study is made anew.

    Args:
        layout: the workflow.
        most: of the evaluations that have ended so many are shown, the best ones among them; ``left_out`` counts the
            others. Those that run, or end from now on, are all shown.
    """

    def __init__(self, layout: Layout, most: int) -> None:
        self._layout = layout
        self._hidden = _left_out(layout, most)
        self.left_out = len(self._hidden)
        self._rows: dict[int, RowMapping] = {}
        self._reports: dict[int, dict[int, float]] = {}
        self._last_report = 0
        self._gathered_at = 0.0
        self._trials: dict[int, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._space: dict[str, BaseDistribution] = {}
        self.refresh()

    def application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """optuna-dashboard over the study as it is now."""
        return self._application(environ, start_response)

    def refresh(self) -> None:
        """Takes over what is new in the database.

        Raises:
            DatabaseError: the database cannot be read.
        """
        changed = self._read()
        space = {name: seen.distribution() for name, seen in self._seen.items()}
        if space != self._space or not self._trials:
            self._space = space
            self._build()
        else:
            for row in changed:
                self._update(row)

    def _read(self) -> list[RowMapping]:
        """The evaluations that have begun or changed since the last time, with their reports."""
        with reading(self._layout.database) as connection:
            self._workflow = queries.workflow_row(connection)
            recorded = _evaluation.gathered_at >= self._gathered_at
            query = select(*(_evaluation[name] for name in _COLUMNS)).order_by(_evaluation.id)
            of_interest = query.where(or_(recorded, _evaluation.state == State.RUNNING.value))
            rows = connection.execute(of_interest).mappings().all()
            told = connection.execute(
                select(_report.id, _report.evaluation, _report.step, _report.metrics)
                .where(_report.id > self._last_report, _report.step.is_not(None))
                .order_by(_report.id)
            ).all()
        for identity, evaluation, step, metrics in told:
            self._last_report = identity
            if evaluation in self._hidden:
                continue
            value = _first_number(json.loads(metrics))
            if value is not None and math.isfinite(step):
                self._reports.setdefault(evaluation, {})[int(step)] = value
        changed = [row for row in rows if self._is_news(row)]
        for row in changed:
            if row["id"] not in self._rows:
                for name, value in json.loads(row["configuration"]).items():
                    self._seen.setdefault(name, _Seen()).add(_plain(value))
            self._rows[row["id"]] = row
            self._gathered_at = max(self._gathered_at, row["gathered_at"] or 0.0)
        return changed

    def _is_news(self, row: RowMapping) -> bool:
        """Whether it may have changed; what has ended stays as it is."""
        known = self._rows.get(row["id"])
        if known is None:
            return row["id"] not in self._hidden
        return State(known["state"]) is State.RUNNING

    def _build(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = InMemoryStorage()
        minimize = bool(self._workflow["minimize"])
        direction = StudyDirection.MINIMIZE if minimize else StudyDirection.MAXIMIZE
        self._study = self._storage.create_new_study([direction], self._workflow["name"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls names of metrics experimental
            study = optuna.load_study(study_name=self._workflow["name"], storage=self._storage)
            study.set_metric_names(["objective"])
        self._trials = {}
        for row in self._rows.values():
            self._add(row)
        self._application: Application = optuna_dashboard.wsgi(self._storage)

    def _update(self, row: RowMapping) -> None:
        trial = self._trials.get(row["id"])
        if trial is None:
            self._add(row)
            return
        for step, value in self._reports.get(row["id"], {}).items():
            self._storage.set_trial_intermediate_value(trial, step, value)
        state = _STATES[State(row["state"])]
        if state is not TrialState.RUNNING:
            for name, value in _attributes(row).items():
                self._storage.set_trial_user_attr(trial, name, value)
            values = None if row["objective"] is None else [row["objective"]]
            self._storage.set_trial_state_values(trial, state, values)

    def _add(self, row: RowMapping) -> None:
        template = self._trial(row)
        self._trials[row["id"]] = self._storage.create_new_trial(self._study, template_trial=template)

    def _trial(self, row: RowMapping) -> FrozenTrial:
        params = {name: _plain(value) for name, value in json.loads(row["configuration"]).items()}
        trial = create_trial(
            state=_STATES[State(row["state"])],
            value=row["objective"],
            params=params,
            distributions={name: self._space[name] for name in params},
            user_attrs=_attributes(row),
            intermediate_values=dict(self._reports.get(row["id"], {})),
        )
        trial.datetime_start = _time(row["started_at"])
        trial.datetime_complete = _time(row["ended_at"]) if row["gathered_at"] else None
        return trial


def _left_out(layout: Layout, most: int) -> frozenset[int]:
    """The evaluations that are not shown: a draw, the same each time, from those that are not among the best."""
    with reading(layout.database) as connection:
        minimize = bool(queries.workflow_row(connection)["minimize"])
        ended = list(connection.scalars(select(_evaluation.id).where(_evaluation.gathered_at.is_not(None))))
        best = {row["id"] for row in queries.best(connection, minimize, min(_BEST, most))}
    others = [identity for identity in ended if identity not in best]
    return frozenset(random.Random(0).sample(others, max(0, len(ended) - most)))


def _attributes(row: RowMapping) -> dict[str, Any]:
    """What is shown beside a trial."""
    failure = f"{row['error_kind']}: {row['error_message'] or ''}" if row["error_kind"] else None
    attributes = {"evaluation": row["id"], "state": row["state"], "node": row["node"], "failure": failure}
    return {**json.loads(row["metadata"] or "{}"), **{name: value for name, value in attributes.items() if value}}


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at)


def _first_number(metrics: Mapping[str, Any]) -> float | None:
    numbers = (float(metrics[name]) for name in sorted(metrics) if type(metrics[name]) in (int, float))
    return next((number for number in numbers if math.isfinite(number)), None)


def _plain(value: Any) -> Any:
    """Optuna's categories are numbers, truth values and text; its whole numbers are those that floats hold."""
    if type(value) is int and abs(value) > 2**53:
        return float(value)
    return value if value is None or isinstance(value, str | int | float | bool) else json.dumps(value)


class _Seen:
    """The values of one hyperparameter so far: those that decide on its distribution."""

    def __init__(self) -> None:
        self._types: set[type] = set()
        self._low = self._high = 0.0
        self._sample: list[float] = []
        self._categories: dict[tuple[type, Any], Any] = {}

    def add(self, value: Any) -> None:
        """One more value."""
        self._categories.setdefault((type(value), value), value)
        self._types.add(type(value))
        if self._types <= {int, float}:
            first = not self._sample
            self._low = value if first else min(self._low, value)
            self._high = value if first else max(self._high, value)
            if len(self._sample) < SAMPLE:
                self._sample.append(value)

    def distribution(self) -> BaseDistribution:
        """A range for numbers, else the categories."""
        if self._types == {int}:
            return IntDistribution(int(self._low), int(self._high), log=logarithmic(self._sample))
        if self._types <= {int, float}:
            return FloatDistribution(self._low, self._high, log=logarithmic(self._sample))
        values = self._categories.values()
        return CategoricalDistribution(sorted(values, key=lambda value: (type(value).__name__, str(value))))
