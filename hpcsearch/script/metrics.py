"""The metric of a script that runs: read from what it writes, reported as it comes, and turned into the objective."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hpcsearch.errors import HpcsearchError
from hpcsearch.program import ProgramError
from hpcsearch.tensorboard.metric import Metric
from hpcsearch.worker import context
from hpcsearch.worker.program import Running
from hpcsearch.worker.stopping import Stopped

#: A value of the metric, and the step that it was written for, if any.
Point = tuple[float | None, float]

#: Columns and keys that count steps.
_STEPS = ("step", "epoch", "iteration", "global_step")

#: The end of a script is waited for so long (seconds) when its last metrics are read by another thread.
_JOIN_LIMIT_S = 60.0


class Source(Protocol):
    """Where a metric is written."""

    #: How often to look, in seconds.
    interval_s: float

    def new(self, ended: bool) -> list[Point]:
        """The values written since the last call; ``ended``: nothing more will be written."""
        ...

    def nothing(self) -> str:
        """Why no value was found, as the end of a sentence."""
        ...


class LinesFile:
    """A file of lines, read as it grows: CSV with a header, or one JSON object a line."""

    interval_s = 1.0

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._offset = 0
        self._rest = b""
        self._header: list[str] = []
        self._seen: dict[str, None] = {}

    def new(self, ended: bool) -> list[Point]:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, io.SEEK_END) < self._offset:  # it was written anew
                    self._offset, self._rest, self._header = 0, b"", []
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if ended:
            lines.append(self._rest)
            self._rest = b""
        return [point for line in lines for point in self._points(line.decode(errors="replace").strip())]

    def nothing(self) -> str:
        if not self._path.exists():
            return f"the script has not written {self._path}"
        return f"{self._path} has {', '.join(self._seen) or 'nothing of the kind'}"

    def _points(self, line: str) -> Iterator[Point]:
        row = self._row(line) if line else {}
        self._seen.update(dict.fromkeys(row))
        value = _number(row.get(self._name))
        if value is not None:
            yield next((step for name in _STEPS if (step := _number(row.get(name))) is not None), None), value

    def _row(self, line: str) -> Mapping[str, Any]:
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter="\t" if "\t" in line else ","))]
        if not self._header or self._name in cells:
            self._header = cells
            return dict.fromkeys(cells)
        return dict(zip(self._header, cells, strict=False))


class EventFiles:
    """TensorBoard's event files in an evaluation's directory, wherever there."""

    interval_s = 10.0

    def __init__(self, directory: Path, name: str, since_at: float) -> None:
        self._directory, self._name, self._since_at = directory, name, since_at
        self._known = 0
        self._why = ""

    def new(self, ended: bool) -> list[Point]:
        from hpcsearch.tensorboard.scalars import scalar_of  # imports tensorboard, which other scripts do without

        try:
            found = scalar_of(self._directory, self._name, self._since_at)
        except HpcsearchError as error:
            self._why = error.message
            return []
        points: list[Point] = [(float(one.step), one.value) for one in found[self._known :]]
        self._known = len(found)
        return points

    def nothing(self) -> str:
        return self._why.rstrip(".")


class Follower:
    """Reads a metric while the script runs: each value is reported, and with it what the objective would be by now.

    Args:
        source: where it is written.
        metric: what it is called, and how its values become the objective.
        running: the script; it is ended when a stopping rule says so.
    """

    def __init__(self, source: Source, metric: Metric, running: Running) -> None:
        self._source, self._metric, self._running = source, metric, running
        self._values: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def objective(self) -> float:
        """The objective, after the script's end.

        Raises:
            ProgramError: it has not written the metric.
            Stopped: a stopping rule has ended it before it did.
        """
        self._over.set()
        self._thread.join(_JOIN_LIMIT_S)
        self._look(ended=True)
        value = self._metric.of(self._values)
        if value is None and self._running.stopped:
            raise Stopped("a stopping rule has ended this evaluation")
        if value is None:
            raise ProgramError(f"the metric {self._metric.name} has no value: {self._source.nothing()}")
        return value

    def _follow(self) -> None:
        while not self._over.wait(self._source.interval_s):
            self._look(ended=False)

    def _look(self, ended: bool) -> None:
        for step, value in self._source.new(ended):
            self._values.append(value)
            self._running.heed(self._report(step, value))

    def _report(self, step: float | None, value: float) -> Callable[[], None]:
        so_far = self._metric.of(self._values)
        known = {self._metric.name: value, "objective": so_far}
        metrics = {name: number for name, number in known.items() if number is not None and math.isfinite(number)}
        return lambda: context.report(step, **metrics)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
