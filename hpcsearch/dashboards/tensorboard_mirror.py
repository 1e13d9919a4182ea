"""A workflow as a folder of runs for TensorBoard: one an evaluation, with its hyperparameters and its objective.

A run has event files of its own for the HParams plug-in, and links to the event files that the evaluation wrote.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, func, or_, select
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from hpcsearch.evaluation import State
from hpcsearch.tensorboard import FOLDER
from hpcsearch.tensorboard.naming import run_name
from hpcsearch.workflow import queries, schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout

_evaluation = schema.evaluation.c
_COLUMNS = ("id", "configuration", "state", "objective", "started_at", "ended_at", "gathered_at")
_QUERY = select(*(_evaluation[name] for name in _COLUMNS))


class TensorBoardMirror:
    """The folder of runs; ``most`` bounds how many of the evaluations that have ended are in it, the best ones first.

    Those that run, or end from now on, are all there.
    """

    def __init__(self, layout: Layout, folder: Path, most: int) -> None:
        self._layout = layout
        self._folder = folder
        self._running: dict[int, Path] = {}
        self._known: set[int] = set()
        self._gathered_at = 0.0
        self.left_out = self._begin(most)

    def refresh(self) -> None:
        """Takes over what is new in the database and in the evaluations' folders.

        Raises:
            DatabaseError: the database cannot be read.
        """
        with reading(self._layout.database) as connection:
            of_interest = or_(_evaluation.gathered_at >= self._gathered_at, _evaluation.state == State.RUNNING.value)
            rows = connection.execute(_QUERY.where(of_interest).order_by(_evaluation.id)).mappings().all()
        self._take(rows)

    def _begin(self, most: int) -> int:
        """Fills the folder; returns how many evaluations were left out."""
        ended = _evaluation.gathered_at.is_not(None)
        with reading(self._layout.database) as connection:
            minimize = bool(queries.workflow_row(connection)["minimize"])
            best = queries.best(connection, minimize, most)
            query = _QUERY.where(ended, _evaluation.id.not_in([row["id"] for row in best]))
            others = connection.execute(query.order_by(_evaluation.id.desc()).limit(most - len(best))).mappings().all()
            known = set(connection.scalars(select(_evaluation.id).where(ended)))
            self._gathered_at = connection.scalar(select(func.max(_evaluation.gathered_at))) or 0.0
        self._take([*best, *others])
        left_out = len(known - self._known)
        self._known |= known
        self.refresh()
        return left_out

    def _take(self, rows: Iterable[RowMapping]) -> None:
        for row in rows:
            identity = row["id"]
            if identity in self._known:
                continue
            if identity not in self._running:
                self._running[identity] = self._start(row)
            if row["gathered_at"] is not None:
                _write(self._running[identity] / "events.out.tfevents.2.end", _end(row), row["ended_at"])
                self._gathered_at = max(self._gathered_at, row["gathered_at"])
                self._known.add(identity)
                self._link(identity, self._running.pop(identity))
        for identity, run in self._running.items():
            self._link(identity, run)

    def _start(self, row: RowMapping) -> Path:
        configuration = json.loads(row["configuration"])
        run = self._folder / f"{row['id']},{run_name(configuration)}"
        run.mkdir()
        _write(run / "events.out.tfevents.1.start", _begin_info(configuration, run.name, row["started_at"]), 0.0)
        return run

    def _link(self, identity: int, run: Path) -> None:
        """Links to all that the evaluation has in its logdir by now, whatever that was named."""
        for logdir in (self._layout.evaluation(identity) / FOLDER).glob("*"):
            for entry in logdir.glob("*"):
                link = run / entry.name
                if not link.is_symlink():
                    link.symlink_to(entry)


def _begin_info(configuration: Mapping[str, Any], name: str, started_at: float | None) -> list[Summary.Value]:
    info = SessionStartInfo(group_name=name, start_time_secs=started_at or 0.0)
    for key, value in configuration.items():
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = value if isinstance(value, str) else json.dumps(value)
    return [_plugin("_hparams_/session_start_info", HParamsPluginData(session_start_info=info, version=0))]


def _end(row: RowMapping) -> list[Summary.Value]:
    good = row["state"] in (State.FINISHED.value, State.STOPPED.value)
    status = Status.Value("STATUS_SUCCESS" if good else "STATUS_FAILURE")
    info = SessionEndInfo(status=status, end_time_secs=row["ended_at"] or 0.0)
    values = [_plugin("_hparams_/session_end_info", HParamsPluginData(session_end_info=info, version=0))]
    if row["objective"] is not None:
        values.append(Summary.Value(tag="objective", simple_value=row["objective"]))
    return values


def _plugin(tag: str, data: HParamsPluginData) -> Summary.Value:
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))


def _write(file: Path, values: list[Summary.Value], at: float | None) -> None:
    """One event file with these values; it takes its name when it is whole."""
    draft = file.with_name(f"draft.{file.name.rpartition('.')[2]}")
    with draft.open("wb") as stream:
        writer = RecordWriter(stream)
        writer.write(Event(wall_time=at or time.time(), file_version="brain.Event:2").SerializeToString())
        writer.write(Event(wall_time=at or time.time(), summary=Summary(value=values)).SerializeToString())
    draft.rename(file)
