"""The agent's side of a slot: forking its process, handing it evaluations one by one, and learning how they end."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.evaluation import Configuration, State
from hpcsearch.worker import slot
from hpcsearch.worker.capture import Capture
from hpcsearch.worker.channel import Channel, ClosedError
from hpcsearch.worker.environment import slot_variables
from hpcsearch.worker.processes import become_subreaper, die_with_parent, kill_tree, name_process
from hpcsearch.worker.protocol import Share
from hpcsearch.worker.stopping import SharedFlag

_OUTPUT_READ_BYTES = 1 << 16
_OUTPUT_READS = 16  # in a row
_OOM_SCORE = "800"  # out of memory takes the slot, not the agent


@dataclass(frozen=True)
class Task:
    """One attempt at one evaluation, as the driver sent it."""

    id: int
    attempt: int
    configuration: Configuration
    more: tuple[Share, ...] = ()  # of other slots, where one is not enough


class SlotProcess:
    """One slot of this node. Its process is replaced when it dies, or has done as many evaluations as it may.

    Commands wait in a socket that outlives the process: each is one packet, read by the process when it is free for it,
    or taken back here. So it is always known which ones have begun.

    Args:
        orders: what the process needs to know.
        share: its cores and GPUs.
        gpu_variable: the environment variable that tells a process its GPUs.
        output_limit_bytes: how much of an evaluation's output is kept.
        log: the name of the file where it is kept.
        variables: what its environment gets beside that.
    """

    def __init__(
        self,
        orders: slot.SlotOrders,
        share: Share,
        gpu_variable: str,
        output_limit_bytes: int,
        log: str = "log",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.orders = orders
        self.sent: dict[int, Task] = {}  # in the order in which they were handed over
        self.begun: Task | None = None
        self.begun_at = 0.0
        self.verdict: str | None = None  # the state of attempts that this agent ends itself
        self.condemned: Collection[int] = ()  # the evaluations that it is for
        self.loaded = False
        self.early_deaths = 0  # in a row, before the run function was loaded
        self.pid = 0
        self.flag = SharedFlag()  # stops evaluations
        self.share = share
        self._gpu_variable = gpu_variable
        self._commands, self._unread = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._early: list[Any] = []  # reports of evaluations whose beginning has not been heard of
        self._variables = variables or {}
        self._capture = Capture(Path(orders.evaluations), output_limit_bytes, log)

    def fork(self) -> None:
        """Starts the slot's process."""
        results_in, results_out = os.pipe()
        reports_in, reports_out = os.pipe()
        self.output, output_out = os.pipe()
        parent = os.getpid()
        self.loaded = False
        self.verdict = None
        self._oom_kills = _oom_kills()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_slot(parent, slot.Lines(self._unread, results_out, reports_out, output_out))
        for fd in (results_out, reports_out, output_out):
            os.close(fd)
        os.set_blocking(self.output, False)
        self.results = Channel(results_in, results_in)
        self.reports = Channel(reports_in, reports_in)
        self._early = []

    def give(self, task: Task) -> None:
        """Hands an evaluation over; it begins when those before it have ended."""
        self.sent[task.id] = task
        self.flag.lower_for(task.id)
        packet = [task.id, task.attempt, task.configuration]
        if task.more:
            packet += self._widened(task.more)
        self._commands.send(json.dumps(packet).encode())

    def _widened(self, more: Sequence[Share]) -> list[Any]:
        """The CPUs and the variables of an evaluation that has other slots' shares besides this one's."""
        shares = (self.share, *more)
        cpus = sorted({cpu for share in shares for cpu in share.cpus}) if self.share.bound else []
        gpus = list(dict.fromkeys(gpu for share in shares for gpu in share.gpus))
        threads = sum(share.threads for share in shares)
        return [cpus, slot_variables(self.orders.index, threads, gpus, self._gpu_variable)]

    def take_back(self, wanted: Collection[int] | None = None) -> list[Task]:
        """Takes back what has not begun, all or those in ``wanted``; the others keep their order."""
        packets = []
        with suppress(BlockingIOError):
            while True:
                packets.append(self._unread.recv(slot.MAX_COMMAND_BYTES, socket.MSG_DONTWAIT))
        back = []
        for packet in packets:
            identity = json.loads(packet)[0]
            if wanted is None or identity in wanted:
                back.append(self.sent.pop(identity))
            else:
                self._commands.send(packet)
        return back

    def current(self) -> Task | None:
        """The evaluation that the process was at when it died: begun, or just taken from the socket."""
        unread = self.take_back()
        at_hand = next(iter(self.sent.values()), None)
        self.sent.clear()
        for task in unread:
            self.give(task)
        return at_hand

    def begin(self, identity: int, at: float) -> None:
        """The process has told that it begins an evaluation."""
        self.begun, self.begun_at = self.sent[identity], at

    def take_reports(self) -> list[Any]:
        """What the evaluation at hand has reported since the last call; a thread or child that outlived one may tell.

        All that the process had told before must have been taken, so that it is known which one is at hand.
        """
        arrived = self._early
        with suppress(ClosedError):
            while messages := self.reports.receive():
                arrived += messages
        at_hand = 0 if self.begun is None else self.begun.id
        self._early = [message for message in arrived if message[1] != at_hand and message[1] in self.sent]
        return [message for message in arrived if message[1] == at_hand]

    def finish(self, identity: int) -> None:
        """The process has told the end of an evaluation; what that printed is taken before."""
        self.read_output()
        self._capture.settle(identity)
        del self.sent[identity]
        self.begun = None

    def read_output(self) -> bool:
        """Takes what the slot has printed, as much as has arrived; False when nothing can come any more."""
        for _ in range(_OUTPUT_READS):  # a flood is taken in turns with everything else
            try:
                data = os.read(self.output, _OUTPUT_READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._capture.feed(data)
        return True

    def kill(self, verdict: str, condemned: Collection[int]) -> None:
        """Ends the process and everything it has started; its evaluation then ends with the state ``verdict``.

        Should the process have gone on to another one that is not ``condemned``, that one is LOST.
        """
        self.verdict, self.condemned = verdict, condemned
        kill_tree(self.pid)

    def judge(self, task: Task, status: int, out_of_memory: bool) -> tuple[str, dict[str, Any] | None, int | None]:
        """How ``task`` ended whose process has died: its state, why, and the signal, where nobody here had sent it."""
        if self.verdict is None:
            killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            return State.FAILED.value, describe_end(status, out_of_memory), killed_by
        if task.id not in self.condemned:  # it began when the one before it was to be killed
            failure = _failure("SlotEnded", "its slot was ended because of the evaluation before it")
            return State.LOST.value, failure, None
        if self.verdict == State.TIMED_OUT:
            message = f"it ran longer than its time limit of {self.orders.eval_timeout_s:g} s"
            return self.verdict, _failure("Timeout", message), None
        return self.verdict, None, None

    def buried(self) -> None:
        """The process has been reaped: closes what led to it."""
        while self.read_output() and select.select([self.output], [], [], 0)[0]:
            pass
        self._capture.close()
        self.results.close()
        self.reports.close()
        os.close(self.output)
        self.begun = None
        self.pid = 0

    def close(self) -> None:
        """No process will follow: closes what evaluations wait in."""
        self._commands.close()
        self._unread.close()

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed something for want of memory since the process began."""
        return _oom_kills() > self._oom_kills

    def _be_the_slot(self, parent: int, lines: slot.Lines) -> None:
        """What the forked child does, and never returns from."""
        code = 70
        try:
            os.setpgid(0, 0)
            die_with_parent(parent)
            become_subreaper()
            place = "slot" if self.orders.world is None else "rank"
            name_process(f"hpcsearch-{place}{self.orders.index}")
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
            _default_signals()
            os.dup2(lines.output_fd, 1)
            os.dup2(lines.output_fd, 2)
            _close_all_but(lines.commands.fileno(), lines.results_fd, lines.reports_fd, lines.output_fd)
            if self.share.bound:
                os.sched_setaffinity(0, self.share.cpus)
            os.environ.update(
                slot_variables(self.orders.index, self.share.threads, self.share.gpus, self._gpu_variable)
            )
            os.environ.update(self._variables)
            for stream in (sys.stdout, sys.stderr):
                getattr(stream, "reconfigure", lambda **_: None)(line_buffering=True)
            slot.serve(self.orders, lines, self.flag)
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


#: Most real-time signals are valid and have no name.
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}


def describe_end(status: int, out_of_memory: bool) -> dict[str, Any]:
    """The failure of an evaluation whose process ended under it, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = _SIGNAL_NAMES.get(number, f"signal {number}")
        if number == signal.SIGKILL and out_of_memory:
            return _failure("OutOfMemory", "its process was killed because the node ran out of memory")
        return _failure(name, f"its process was killed by signal {number} ({name})")
    code = os.waitstatus_to_exitcode(status)
    return _failure("ProcessExit", f"its process ended with exit code {code} before the run function returned")


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "traceback": ""}
