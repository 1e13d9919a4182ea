"""A slot's process: takes one configuration after the other, calls the run function, and tells what came of it.

The agent forks it, so it starts in a millisecond and reads no file that the agent has not read. It lives on between
evaluations, so the run function's imports are paid once; whatever an evaluation changed in the process's environment
or working directory is restored before the next one, and so are standard input and output.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hpcsearch.errors import HpcsearchError
from hpcsearch.runfunction import Reference, load
from hpcsearch.worker import context
from hpcsearch.worker.capture import marker
from hpcsearch.worker.evaluating import evaluate
from hpcsearch.worker.program import as_evaluated
from hpcsearch.worker.reports import ReportPipe
from hpcsearch.worker.stopping import SharedFlag, ending
from hpcsearch.worker.telling import encode
from hpcsearch.worker.worldsize import in_world_of

#: A configuration's message is no longer than this (bytes).
MAX_COMMAND_BYTES = 1 << 17

# What a slot tells its agent: lists that begin with one of these.
LOADED = "loaded"
UNLOADABLE = "unloadable"  # failure
BEGUN = "begun"  # id, attempt, at
ENDED = "ended"  # id, attempt, state, started_at, ended_at, duration_s, objective, metadata, failure
REPORTS_WAIT = "reports_wait"  # their pipe is full

# And in the pipe of its reports.
REPORT = "report"  # id, attempt, step, at, metrics

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
    reuse: int  # evaluations until the process ends; 0 for no limit
    stop_raises: bool = False  # whether a report of an evaluation that is stopped raises
    stop_margin_s: float | None = None  # how long before the end of its time an evaluation is told; None: as usual
    world: context.World | None = None  # its place, where evaluations have several processes
    valued: bool = True  # whether the run function's value is the objective


@dataclass(frozen=True)
class Lines:
    """What leads from a slot's process to its agent, beside the flag that stops evaluations."""

    commands: socket.socket
    results_fd: int
    reports_fd: int
    output_fd: int


def serve(orders: SlotOrders, lines: Lines, flag: SharedFlag) -> None:
    """Works until the agent closes the socket of commands, or as many evaluations are done as one process may do.

    Sends ``UNLOADABLE`` when the run function cannot be loaded, and returns.
    """
    outbox = _Outbox(lines.results_fd)
    reports = ReportPipe(lines.reports_fd, lambda: outbox.send([REPORTS_WAIT]))
    os.chdir(orders.cwd)
    try:
        run = as_evaluated(load(Reference.parse(orders.run, "run", orders.cwd)), orders.names or None)
    except HpcsearchError as error:
        failure = {"kind": type(error).__name__, "message": error.message, "traceback": error.hint}
        outbox.send([UNLOADABLE, failure])
        return
    if orders.world is not None:
        run = in_world_of(orders.world.size, run, orders.valued)
    outbox.send([LOADED])
    restore, restore_streams = _Restorer(), _Streams(lines.output_fd)
    done = 0
    while (done != orders.reuse or not orders.reuse) and (command := outbox.next_command(lines.commands)):
        identity, attempt, configuration, *wider = json.loads(command)
        timeout_s = orders.eval_timeout_s
        ends_at_s = min(orders.ends_at_s, time.monotonic() + (timeout_s or math.inf))
        stop = ending(flag.of(identity), orders.ends_at_s, timeout_s, orders.stop_margin_s, orders.stop_raises)
        directory = f"{orders.evaluations}/{identity}"
        context.enter(
            context.CurrentEvaluation(identity, attempt, orders.index, configuration, directory, ends_at_s),
            _reporter(reports, identity, attempt),
            ending=stop,
            world=orders.world,
        )
        os.write(lines.output_fd, marker(identity))
        outbox.send([BEGUN, identity, attempt, time.time()])
        with _widened(*wider) if wider else nullcontext():
            outbox.add([ENDED, identity, attempt, *evaluate(run, configuration, stop)])
        restore()
        restore_streams()
        done += 1
    outbox.flush()


@contextmanager
def _widened(cpus: list[int], variables: dict[str, str]) -> Iterator[None]:
    """Cores and GPUs of other slots for as long as the block runs; variables are put back with all others."""
    own = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


class _Outbox:
    """What goes to the agent. The end of one evaluation and the beginning of the next, when it waits, are one write."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._held = b""
        self._turn = threading.Lock()  # threads of a run function announce reports

    def add(self, message: Any) -> None:
        line = encode(message).encode() + b"\n"
        with self._turn:
            self._held += line

    def send(self, message: Any) -> None:
        self.add(message)
        self.flush()

    def flush(self) -> None:
        with self._turn:
            while self._held:
                self._held = self._held[os.write(self._fd, self._held) :]

    def next_command(self, commands: socket.socket) -> bytes:
        """The next command, empty when none will come. What is held is sent before waiting for it."""
        try:
            return commands.recv(MAX_COMMAND_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.flush()
            return commands.recv(MAX_COMMAND_BYTES)


def _reporter(reports: ReportPipe, identity: int, attempt: int) -> context.Reporter:
    def report(step: float | None, metrics: dict[str, Any]) -> None:
        reports.send([REPORT, identity, attempt, step, time.time(), metrics])

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


class _Streams:
    """Opens standard input and output again where something closed or replaced them: the next evaluation prints, too.

    Args:
        output_fd: where all that is printed goes.
    """

    def __init__(self, output_fd: int) -> None:
        self._kept = {0: os.dup(0), 1: output_fd, 2: output_fd}
        self._mask = os.umask(0o077)
        os.umask(self._mask)
        self._stdout, self._stderr = sys.stdout, sys.stderr

    def __call__(self) -> None:
        for fd, kept in self._kept.items():
            os.dup2(kept, fd)
        os.umask(self._mask)
        self._stdout = sys.stdout = _opened(self._stdout, 1)
        self._stderr = sys.stderr = _opened(self._stderr, 2)


def _opened(stream: TextIO, fd: int) -> TextIO:
    return open(fd, "w", buffering=1, errors="backslashreplace", closefd=False) if stream.closed else stream
