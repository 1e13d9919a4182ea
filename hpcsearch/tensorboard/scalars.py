"""Scalars in event files, whoever wrote them (PyTorch, Keras, Lightning), read with TensorBoard's own package.

Event files are read as they stand: one that is still being written, or was torn by a kill, gives what is whole of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcsearch.errors import NotFoundError, UsageError
from hpcsearch.tensorboard.metric import Metric

_LISTED = 10


@dataclass(frozen=True)
class Scalar:
    """One value; ``at`` is in seconds since 1970, UTC."""

    step: int
    at: float
    value: float


def objective(logdir: str | os.PathLike[str], metric: Metric, since_at: float = 0.0) -> float:
    """The objective of an evaluation from the event files below its logdir.

    Args:
        logdir: the evaluation's own.
        metric: which scalar: its tag, or ``run/tag`` where several folders below logdir have the tag.
        since_at: values written before this are passed over: those of an earlier attempt.

    Raises:
        NotFoundError: no such scalar was written.
        UsageError: several folders have that tag; or tensorboard is not installed.
    """
    value = metric.of(one.value for one in scalar_of(logdir, metric.name, since_at))
    if value is None:
        raise NotFoundError(f"Every value of the metric {metric.name!r} is NaN.", "See why the training diverges.")
    return value


def scalar_of(logdir: str | os.PathLike[str], name: str, since_at: float = 0.0) -> list[Scalar]:
    """The values of one scalar so far, in the order of their writing; arguments and errors as above."""
    series = read_scalars(logdir, since_at)
    return series[_meant(name, series)]


def _meant(name: str, series: dict[str, list[Scalar]]) -> str:
    if name in series:
        return name
    found = [full for full in series if full.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"The metric {name!r} was written by several writers: {', '.join(found)}.",
            f"Say which one counts, for instance --metric {found[-1]}.",
        )
    shown = ", ".join(list(series)[:_LISTED]) + (", ..." if len(series) > _LISTED else "")
    raise NotFoundError(
        f"No TensorBoard scalar {name!r} was written (scalars there: {shown or 'none'}).",
        "Write event files to hpcsearch.tensorboard.logdir(), and give --metric the tag that is used there.",
    )


def read_scalars(logdir: str | os.PathLike[str], since_at: float = 0.0) -> dict[str, list[Scalar]]:
    """All scalars in the event files below ``logdir``, by ``tag`` or ``folder/tag``, in the order of their writing.

    Raises:
        UsageError: tensorboard is not installed.
    """
    require_tensorboard("Event files cannot be read")
    series: dict[str, list[Scalar]] = {}
    for folder, file in _event_files(Path(logdir)):
        for tag, scalar in _scalars(file):
            if scalar.at >= since_at:
                series.setdefault(f"{folder}/{tag}" if folder else tag, []).append(scalar)
    return dict(sorted(series.items()))


def require_tensorboard(what: str) -> None:
    """Raises UsageError, which begins with ``what``, unless TensorBoard is installed."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            f"{what}, because tensorboard is not installed in this environment.",
            "Type \"pip install 'hpcsearch[tensorboard]'\".",
        )


def _event_files(logdir: Path) -> Iterator[tuple[str, Path]]:
    """(folder relative to logdir, file); a folder's files in the order in which they were begun, as their names say."""
    for folder, _, names in sorted(os.walk(logdir)):
        relative = os.path.relpath(folder, logdir)
        for name in sorted(name for name in names if "tfevents" in name):
            yield ("" if relative == "." else relative, Path(folder, name))


def _scalars(file: Path) -> Iterator[tuple[str, Scalar]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    kinds: dict[str, str] = {}  # the first value of a tag alone says what it is
    for event in EventFileLoader(str(file)).Load():  # which turns older forms of events into today's
        for value in event.summary.value:
            kind = kinds.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if kind == "scalars":
                number: Any = tensor_util.make_ndarray(value.tensor)
                yield value.tag, Scalar(event.step, event.wall_time, float(number.reshape(-1)[0]))
