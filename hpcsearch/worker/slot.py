"""A slot's process: takes one configuration after the other, calls the run function, and tells what came of it.

The agent forks it, so it starts in a millisecond and reads no file that the agent has not read. It lives on between
evaluations, so the run function's imports are paid once; whatever an evaluation changed in the process's environment
or working directory is restored before the next one.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import Failure, State
from hpcsearch.runfunction import Reference, as_run_function, failure_from, load, normalise
from hpcsearch.worker import context


def _plain(value: Any) -> Any:
    """A numpy scalar as the number it is."""
    if not hasattr(value, "item"):
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be kept: JSON knows no such type")
    return value.item()


_encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode

RunFunction = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class SlotOrders:
    """What a slot needs to know once: where it stands, and what to call."""

    index: int
    run: str
    names: tuple[str, ...]
    cwd: str
    evaluations: str  # the folder of the evaluations' directories
    ends_at_s: float  # the allocation's last moment for evaluations, on this host's monotonic clock
    eval_timeout_s: float | None


def serve(orders: SlotOrders, commands_fd: int, results_fd: int) -> None:
    """Works until the agent closes the pipe of commands.

    Sends ``["unloadable", failure]`` when the run function cannot be loaded, and ends.
    """
    send = _sender(results_fd)
    os.chdir(orders.cwd)
    try:
        run = as_run_function(load(Reference.parse(orders.run, "run", orders.cwd)), orders.names)
    except HpcsearchError as error:
        send(["unloadable", {"kind": type(error).__name__, "message": error.message, "traceback": error.hint}])
        return
    send(["loaded"])
    restore = _Restorer()
    for identity, attempt, configuration in _commands(commands_fd):
        started_s = time.monotonic()
        ends_at_s = min(orders.ends_at_s, started_s + (orders.eval_timeout_s or math.inf))
        directory = f"{orders.evaluations}/{identity}"
        current = context.CurrentEvaluation(identity, attempt, orders.index, configuration, directory, ends_at_s)
        context.enter(current, _reporter(send, identity, attempt))
        send(["ended", identity, attempt, *_evaluate(run, configuration)])
        restore()


def _evaluate(run: RunFunction, configuration: dict[str, Any]) -> list[Any]:
    """State, start and end (seconds since 1970), duration in seconds, objective, metadata, failure."""
    objective = metadata = failure = None
    state = State.FINISHED.value
    started_at = time.time()
    started_s = time.perf_counter()
    try:
        result = normalise(run(configuration))
        objective, metadata = result.objective, result.metadata or None
    except SystemExit as exit_:
        failure = Failure("SystemExit", f"the run function called sys.exit({exit_.code!r})")
    except BaseException as error:  # noqa: BLE001 - whatever ends an evaluation is told, and not died of
        failure = failure_from(error)
    duration_s = time.perf_counter() - started_s
    if failure is not None:
        state = State.FAILED.value
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the run function may have closed or replaced it
            stream.flush()
    return [
        state,
        started_at,
        started_at + duration_s,
        duration_s,
        objective,
        metadata,
        None if failure is None else asdict(failure),
    ]


def _commands(fd: int) -> Iterator[list[Any]]:
    partial = b""
    while data := os.read(fd, 1 << 16):
        partial += data
        *lines, partial = partial.split(b"\n")
        yield from map(json.loads, lines)


def _sender(fd: int) -> Callable[[Any], None]:
    def send(message: Any) -> None:
        data = _encode(message).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]

    return send


def _reporter(send: Callable[[Any], None], identity: int, attempt: int) -> context.Reporter:
    def report(step: float | None, metrics: dict[str, Any]) -> None:
        send(["report", identity, attempt, step, time.time(), metrics])

    return report


class _Restorer:
    """Puts environment and working directory back, when something changed them.

    Python announces both changes to audit hooks; so an evaluation that changes nothing costs nothing.
    """

    _EVENTS = frozenset({"os.putenv", "os.unsetenv", "os.chdir"})

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._cwd = Path.cwd()
        self._changed = False
        sys.addaudithook(self._notice)

    def _notice(self, event: str, _arguments: object) -> None:
        if event in self._EVENTS:
            self._changed = True

    def __call__(self) -> None:
        if self._changed:
            for name in os.environ.keys() - self._environment.keys():
                del os.environ[name]
            for name, value in self._environment.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
            os.chdir(self._cwd)
            self._changed = False
