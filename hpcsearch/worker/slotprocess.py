"""The agent's side of a slot: forking its process, handing it evaluations one by one, and learning how they end."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.evaluation import Configuration
from hpcsearch.worker import slot
from hpcsearch.worker.capture import Capture
from hpcsearch.worker.channel import Channel, ClosedError
from hpcsearch.worker.environment import slot_variables
from hpcsearch.worker.processes import become_subreaper, die_with_parent, kill_tree, name_process
from hpcsearch.worker.protocol import Share

_OUTPUT_READ_BYTES = 1 << 16
_OOM_SCORE = "800"  # out of memory takes the slot, not the agent


@dataclass(frozen=True)
class Task:
    """One attempt at one evaluation, as the driver sent it."""

    id: int
    attempt: int
    configuration: Configuration


class SlotProcess:
    """One slot of this node. Its process is replaced when it dies, or after ``reuse`` evaluations (0: never).

    Args:
        orders: what the process needs to know.
        share: its cores and GPUs.
        reuse: evaluations per process; 0 for no limit.
        gpu_variable: the environment variable that tells a process its GPUs.
        output_limit_bytes: how much of an evaluation's output is kept.
    """

    def __init__(
        self, orders: slot.SlotOrders, share: Share, reuse: int, gpu_variable: str, output_limit_bytes: int
    ) -> None:
        self.orders = orders
        self.waiting: deque[Task] = deque()
        self.task: Task | None = None
        self.started_at = 0.0
        self.started_s = 0.0
        self.verdict: str | None = None  # the state of an attempt that this agent ends itself
        self.loaded = False
        self.early_deaths = 0  # in a row, before the run function was loaded
        self._share = share
        self._reuse = reuse
        self._gpu_variable = gpu_variable
        self._limit_bytes = output_limit_bytes
        self._capture: Capture | None = None
        self.pid = 0

    def fork(self) -> None:
        """Starts the slot's process."""
        commands_out, commands_in = os.pipe()
        results_in, results_out = os.pipe()
        self.output, output_out = os.pipe()
        parent = os.getpid()
        self.loaded = False
        self._evaluated = 0
        self._oom_kills = _oom_kills()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_slot(parent, commands_out, results_out, output_out)
        for fd in (commands_out, results_out, output_out):
            os.close(fd)
        os.set_blocking(self.output, False)
        self.channel = Channel(results_in, commands_in)
        os.set_blocking(commands_in, True)  # an idle process takes its next command at once

    @property
    def idle(self) -> bool:
        return self.task is None and self.loaded

    def start_next(self) -> Task | None:
        """Hands the next waiting evaluation to the process, when it is idle and one waits."""
        if not self.idle or not self.waiting:
            return None
        self._close_capture()
        task = self.task = self.waiting.popleft()
        self.verdict = None
        self._capture = Capture(Path(self.orders.evaluations, str(task.id), "log"), self._limit_bytes)
        self.channel.send([task.id, task.attempt, task.configuration])
        with suppress(ClosedError):  # the process has just died: its end is noticed by the agent, and told as that
            self.channel.flush()
        self.started_at, self.started_s = time.time(), time.monotonic()
        return task

    def finish(self) -> None:
        """The process has told the end of its evaluation: takes what it printed, and retires it when it is due."""
        self.read_output()
        self.task = None
        self._evaluated += 1

    @property
    def due(self) -> bool:
        """Whether the process has done as many evaluations as one process may."""
        return self._reuse > 0 and self._evaluated >= self._reuse

    def read_output(self) -> bool:
        """Takes what the slot has printed, as much as has arrived; False when nothing can come any more."""
        while True:
            try:
                data = os.read(self.output, _OUTPUT_READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            if self._capture is not None:
                self._capture.feed(data)
            if len(data) == _OUTPUT_READ_BYTES and self.task is not None:
                return True  # a flood is taken in turns with everything else

    def kill(self, verdict: str) -> None:
        """Ends the process and everything it has started; its evaluation then ends with the state ``verdict``."""
        self.verdict = verdict
        kill_tree(self.pid)

    def buried(self) -> None:
        """The process has been reaped: closes what led to it."""
        self.read_output()
        self._close_capture()
        self.channel.close()
        os.close(self.output)
        self.task = None
        self.pid = 0

    def retire(self) -> None:
        """Lets the process end by itself: it reads the end of its commands."""
        os.close(self.channel.write_fd)
        self.channel.write_fd = self.channel.read_fd

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed something for want of memory since the process began."""
        return _oom_kills() > self._oom_kills

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def _be_the_slot(self, parent: int, commands: int, results: int, output: int) -> None:
        """What the forked child does, and never returns from."""
        code = 70
        try:
            os.setpgid(0, 0)
            die_with_parent(parent)
            become_subreaper()
            name_process(f"hpcsearch-slot{self.orders.index}")
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
            _default_signals()
            os.dup2(output, 1)
            os.dup2(output, 2)
            _close_all_but(commands, results)
            if self._share.bound:
                os.sched_setaffinity(0, self._share.cores)
            os.environ.update(
                slot_variables(self.orders.index, len(self._share.cores), self._share.gpus, self._gpu_variable)
            )
            for stream in (sys.stdout, sys.stderr):
                getattr(stream, "reconfigure", lambda **_: None)(line_buffering=True)
            slot.serve(self.orders, commands, results)
            _run_exit_functions()
            code = 0
        except BaseException:  # noqa: BLE001 - a forked process must not return into its parent's loop
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


#: What a forked process must run itself before it ends, since it does not return to the interpreter's own end.
_run_exit_functions: Callable[[], None] = atexit._run_exitfuncs


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in kept:
            with suppress(OSError):  # the descriptor of the listing itself is gone by now
                os.close(fd)


def _oom_kills() -> int:
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def describe_end(status: int, out_of_memory: bool) -> dict[str, Any]:
    """The failure of an evaluation whose process ended under it, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
        if number == signal.SIGKILL and out_of_memory:
            return _failure("OutOfMemory", "its process was killed because the node ran out of memory")
        return _failure(name, f"its process was killed by signal {number} ({name})")
    code = os.waitstatus_to_exitcode(status)
    return _failure("ProcessExit", f"its process ended with exit code {code} before the run function returned")


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "traceback": ""}
