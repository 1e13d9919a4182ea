"""One launch of an evaluation's ranks: its process, what it tells, and what it prints."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.mpirun import RANK, Ranks, mpi_argv, mpi_environment
from hpcsearch.allocation.plan import Launch
from hpcsearch.worker import telling
from hpcsearch.worker.capture import Log
from hpcsearch.worker.environment import LAUNCH_VARIABLE
from hpcsearch.worker.processes import die_with_parent, kill_tree
from hpcsearch.worker.result import Announced

#: What launchers say of themselves each time, and means nothing to whoever reads an evaluation's log.
_NOISE = frozenset({b"srun: cluster configuration lacks support for cpu binding"})

#: What Hydra says of a rank that was killed by a signal: its exit code does not tell.
_HYDRA_KILLED = re.compile(rb"EXIT STRING: .*\(signal (\d+)\)")
#: What srun says of it: its exit code may be that of the others, which it has killed then.
_SRUN_KILLED = re.compile(rb"srun: error: [^:]+: tasks? [^:]+: ([A-Z][A-Za-z ]+?)(?: \(core dumped\))?")
_SIGNALS = {(signal.strsignal(number) or "").encode(): number.value for number in signal.Signals}

_READ_BYTES = 1 << 16
_KEPT_LINES = 10
_LONGEST_LINE_BYTES = 4096


@dataclass(frozen=True)
class LaunchOrders:
    """What is to be launched, as the driver sends it.

    ``shares`` are what each rank has of a node: ``[[hosts, [{"cpus", "threads", "gpus"}, ...]], ...]``, without hosts
    where all are alike. ``ranks`` are further orders for each rank's process. ``variables`` are the launcher's own.
    """

    evaluation: int
    attempt: int
    mark: str
    hosts: list[str]
    per_node: int
    shares: list[list[Any]]
    configuration: dict[str, Any]
    directory: str
    ranks: dict[str, Any]
    variables: dict[str, str | None]
    timeout_s: float | None
    log: str
    output_limit_bytes: int
    program: dict[str, Any] | None = None


class Launched:
    """A launch under way.

    Args:
        orders: what is launched.
        launch: by what.
        on_told: called with what its ranks tell.
    """

    def __init__(self, orders: LaunchOrders, launch: Launch, on_told: Callable[[list[Any]], None]) -> None:
        self.orders = orders
        self.begun = self.ending = self.timed_out = self.never_began = False
        self.pid = 0
        self.killed_by: int | None = None
        self._launch = launch
        self._on_told = on_told
        self._log = Log(Path(orders.log), orders.output_limit_bytes)
        self._announced = Announced()
        self._partial = b""
        self._errors: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._error_line = b""

    def start(self, loop: Loop) -> None:
        """Starts the launcher.

        Raises:
            OSError: it cannot be started, or the evaluation's directory not be written.
        """
        orders = self.orders
        Path(orders.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = Path(orders.directory, "configuration.json")
        configuration.write_text(json.dumps(orders.configuration), encoding="utf-8")
        ranks = Ranks(tuple(orders.hosts), orders.per_node, orders.program is None)
        told = {
            **orders.ranks,
            "launcher": self._launch.kind,
            "hosts": orders.hosts,
            "size": ranks.size,
            "per_node": orders.per_node,
            "shares": orders.shares,
            "configuration": str(configuration),
            "program": orders.program,
        }
        parent = os.getpid()
        self._process = subprocess.Popen(
            mpi_argv(self._launch, ranks, [*RANK, json.dumps(told, separators=(",", ":"))]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            bufsize=0,
            start_new_session=True,  # out of reach of signals for the allocation: ranks end in their own order
            preexec_fn=lambda: die_with_parent(parent),
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None and self._process.stderr is not None
        self._streams = {
            self._process.stdout.fileno(): self._take_output,
            self._process.stderr.fileno(): self._take_errors,
        }
        for fd in self._streams:
            os.set_blocking(fd, False)
            loop.watch(fd, functools.partial(self._read, loop, fd))

    def _environment(self) -> dict[str, str]:
        changed: Mapping[str, str | None] = {**self.orders.variables, LAUNCH_VARIABLE: self.orders.mark}
        environment = {name: value for name, value in os.environ.items() if changed.get(name, "") is not None}
        environment |= {name: value for name, value in changed.items() if value is not None}
        return mpi_environment(self._launch, environment)

    @property
    def last_lines(self) -> list[str]:
        """What was printed last on standard error."""
        return [line.decode(errors="backslashreplace").rstrip() for line in self._errors if line.strip()]

    @property
    def announced(self) -> float | None:
        """The objective that a program has announced last."""
        return self._announced.last

    def terminate(self) -> None:
        """Asks the launcher to end its ranks and itself."""
        self.ending = True
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends the launcher and what is below it, if it has not ended."""
        if self._process.returncode is None:
            kill_tree(self.pid)

    def finish(self, loop: Loop, kill_others: Callable[[], None]) -> None:
        """The launcher has been reaped: takes what it still had to say."""
        self._process.returncode = 0  # reaped by whoever calls this
        kill_others()
        for fd in list(self._streams):
            while self._read(loop, fd):
                continue
        self._take_output(b"\n" if self._partial else b"")
        self._take_errors(b"\n" if self._error_line else b"")
        self._streams.clear()
        self._announced.close()
        self._log.close()
        for stream, fd in ((self._process.stdout, 1), (self._process.stderr, 2)):
            assert stream is not None, fd
            loop.forget(stream.fileno())
            stream.close()

    # ---- output

    def _read(self, loop: Loop, fd: int) -> bool:
        """Takes what has arrived; False when nothing has, or its end was met before."""
        if fd not in self._streams:
            return False
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            loop.forget(fd)
            self._streams.pop(fd, None)
            return False
        self._streams[fd](data)
        return True

    def _take_output(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        rest = []
        for line in lines:
            message = telling.heard(line)
            if message is None:
                rest.append(line + b"\n")
                killed = _HYDRA_KILLED.search(line)
                self.killed_by = int(killed[1]) if killed else self.killed_by
            else:
                self._on_told(message)
        if len(self._partial) > _LONGEST_LINE_BYTES and not self._partial.startswith(telling.MARK):
            rest.append(self._partial)
            self._partial = b""
        if rest:
            output = b"".join(rest)
            self._announced.feed(output)
            self._log.feed(output)

    def _take_errors(self, data: bytes) -> None:
        *lines, self._error_line = (self._error_line + data).split(b"\n")
        lines = [line for line in lines if line not in _NOISE]
        self._log.feed(b"".join(line + b"\n" for line in lines))
        self._errors.extend(line[-_LONGEST_LINE_BYTES:] for line in lines if line.strip())
        if self.killed_by is None:
            killed = (match[1] for line in lines if (match := _SRUN_KILLED.fullmatch(line)))
            self.killed_by = next((_SIGNALS[word] for word in killed if word in _SIGNALS), None)
        if len(self._error_line) > _LONGEST_LINE_BYTES:
            self._log.feed(self._error_line[:-1])
            self._error_line = self._error_line[-1:]
