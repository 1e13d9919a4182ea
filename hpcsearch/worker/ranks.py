"""The agent's part in evaluations that have several ranks: this node's ranks, and what they need to find the others.

Each rank is a process like a slot's, which takes one evaluation and ends. The driver decides everything that concerns
several nodes (see ``hpcsearch.allocation.ranks``); the agent starts, watches, and kills.
"""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from hpcsearch.evaluation import State
from hpcsearch.worker import protocol, slot
from hpcsearch.worker.channel import ClosedError
from hpcsearch.worker.context import World
from hpcsearch.worker.processes import send
from hpcsearch.worker.slot import SlotOrders
from hpcsearch.worker.slotprocess import SlotProcess, Task, describe_end

if TYPE_CHECKING:
    from hpcsearch.worker.home import Home

_BACKLOG = 1024
_SAID_BYTES = 1 << 16
_UNBEGUN = (None,) * 5  # start, end, duration, objective and metadata of a rank whose run function was not called


class Meeting:
    """What an evaluation needs on this node for its ranks to find each other, and gives back when it ends.

    Args:
        ports: how many ports to keep free: nobody else is given them, while a rank may listen there.
        hosts: names and numbers of ranks, where these meet here.

    Raises:
        OSError: this node's name has no address.
    """

    def __init__(self, ports: int, hosts: Sequence[Sequence[Any]] | None) -> None:
        self.address = socket.gethostbyname(socket.gethostname())
        self._sockets = [self._bound() for _ in range(ports)]
        self.server: subprocess.Popen[bytes] | None = None
        if hosts:
            self._sockets.append(self._bound())
            self._serve(self._sockets[-1], hosts)
        self.ports = [bound.getsockname()[1] for bound in self._sockets]

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        # Both sides say so, and only one listens: then a rank can have the port that is kept for it.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self.address, 0))
        return bound

    def _serve(self, listening: socket.socket, hosts: Sequence[Sequence[Any]]) -> None:
        listening.listen(_BACKLOG)
        fd = listening.fileno()
        self.server = subprocess.Popen(
            [sys.executable, "-P", "-m", "hpcsearch.worker.rendezvous", str(fd), json.dumps(hosts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(fd,),
            process_group=0,
        )

    def server_ended(self, status: int) -> str:
        """The server has been reaped: gives the last line of what it said."""
        assert self.server is not None and self.server.stdin is not None and self.server.stderr is not None
        self.server.returncode = os.waitstatus_to_exitcode(status)
        os.set_blocking(self.server.stderr.fileno(), False)
        said = (self.server.stderr.read(_SAID_BYTES) or b"").decode(errors="replace")
        self.server.stdin.close()
        self.server.stderr.close()
        return (said.strip().splitlines() or [f"exit code {self.server.returncode}"])[-1]

    def close(self) -> None:
        """Gives the ports back, and ends the server, whose end is still to be told."""
        for bound in self._sockets:
            bound.close()
        if self.server is not None and self.server.returncode is None:
            send(self.server.pid, signal.SIGKILL)


class Ranks:
    """All ranks on this node.

    Args:
        home: the agent.
        orders: what it was told of all evaluations.
        ends_at_s: the allocation's last moment for evaluations, on this host's monotonic clock.
    """

    def __init__(self, home: Home, orders: protocol.Setup, ends_at_s: float) -> None:
        self._home = home
        self._orders = orders
        self._ends_at_s = ends_at_s
        self._meetings: dict[int, Meeting] = {}
        self._processes: dict[int, set[SlotProcess]] = defaultdict(set)
        self._chiefs: dict[int, tuple[SlotProcess, protocol.RankOrders]] = {}

    # ---- orders

    def prepare(self, evaluation: int, attempt: int, ports: int, hosts: Sequence[Sequence[Any]] | None) -> None:
        """Makes ready what the ranks of an evaluation need to find each other."""
        try:
            meeting = Meeting(ports, hosts)
        except OSError as error:
            message = f"the host name {socket.gethostname()} has no address: {error.strerror}"
            self._unprepared(evaluation, attempt, "AddressError", message)
            return
        self._meetings[evaluation] = meeting
        if meeting.server is not None:
            self._home.adopt(meeting.server.pid, functools.partial(self._server_ended, evaluation, attempt, meeting))
        self._home.tell([protocol.PREPARED, evaluation, attempt, meeting.address, meeting.ports])

    def start(self, orders: protocol.RankOrders) -> None:
        """Starts this node's ranks of an evaluation."""
        setup = self._orders
        for values in orders.ranks:
            rank = protocol.Rank(**{**values, "share": protocol.Share(**values["share"])})
            number, chief = rank.rank, rank.rank == orders.chief
            process = SlotProcess(
                self._slot_orders(orders, rank),
                rank.share,
                setup.gpu_variable,
                setup.output_limit_bytes,
                log="log" if chief else f"log.rank{number}",
                variables=rank.environment,
            )
            process.give(Task(orders.evaluation, orders.attempt, orders.configuration))
            self._fork(process, orders)
            if chief:
                self._chiefs[orders.evaluation] = process, orders

    def _slot_orders(self, orders: protocol.RankOrders, rank: protocol.Rank) -> SlotOrders:
        setup, chief = self._orders, rank.rank == orders.chief
        place = (rank.rank, orders.size, rank.local_rank, len(orders.ranks), orders.node_rank, tuple(orders.hosts))
        return SlotOrders(
            rank.rank,
            setup.run,
            tuple(setup.names),
            setup.cwd,
            setup.evaluations,
            self._ends_at_s,
            setup.eval_timeout_s,
            reuse=1,
            # The chief alone learns that it is to end early, so that all do in the same step when it has told them.
            stop_raises=setup.stop_raises and chief,
            stop_margin_s=setup.stop_margin_s if chief else -math.inf,
            world=World(*place),
            valued=chief,
        )

    def stop(self, evaluations: Collection[int], state: State) -> None:
        """Asks those evaluations to end in a state whose chief is here."""
        for identity in self._chiefs.keys() & set(evaluations):
            self._chiefs[identity][0].flag.raise_for(identity, state)

    def fetch_reports(self) -> bool:
        """Passes on what chiefs have reported; whether any may still do so."""
        for process, orders in list(self._chiefs.values()):
            self._take(process, orders)
            self._pass_on_reports(process, orders)
        return bool(self._chiefs)

    def end(self, evaluation: int) -> None:
        """Kills what is left of an evaluation here; the end of each of its ranks is told."""
        for process in self._processes.get(evaluation, ()):
            process.kill("", ())
        meeting = self._meetings.pop(evaluation, None)
        if meeting is not None:
            meeting.close()

    # ---- what happens

    def _unprepared(self, evaluation: int, attempt: int, kind: str, message: str) -> None:
        failure = {"kind": kind, "message": message, "traceback": ""}
        self._home.tell([protocol.UNPREPARED, evaluation, attempt, failure])

    def _server_ended(self, evaluation: int, attempt: int, meeting: Meeting, status: int) -> None:
        said = meeting.server_ended(status)
        if self._meetings.get(evaluation) is meeting:  # nobody has ended it
            message = f"the process where Horovod's ranks meet has ended: {said}"
            self._unprepared(evaluation, attempt, "RendezvousError", message)

    def _fork(self, process: SlotProcess, orders: protocol.RankOrders) -> None:
        process.fork()
        self._processes[orders.evaluation].add(process)
        take = functools.partial(self._take, process, orders)
        self._home.adopt(process.pid, functools.partial(self._bury, process, orders))
        self._home.listen(process.results.read_fd, take)
        self._home.listen(process.output, lambda: self._home.take_output(process))

    def _take(self, process: SlotProcess, orders: protocol.RankOrders) -> bool:
        """Passes on what a rank has told; False when it will tell no more."""
        try:
            messages = process.results.receive()
        except ClosedError:
            self._home.forget(process.results.read_fd)  # its end is told by SIGCHLD
            return False
        for message in messages:
            self._pass_on(process, orders, message)
        return bool(messages)

    def _pass_on(self, process: SlotProcess, orders: protocol.RankOrders, message: list[Any]) -> None:
        rank = process.orders.index
        attempt = [orders.evaluation, orders.attempt]
        match message:
            case [slot.BEGUN, identity, _, at]:
                process.begin(identity, at)
                self._home.expect_reports()
                self._home.tell([protocol.RANK_BEGUN, *attempt, rank, at])
            case [slot.ENDED, identity, _, *end]:
                self._pass_on_reports(process, orders)
                process.finish(identity)
                self._home.tell([protocol.RANK_ENDED, *attempt, rank, *end])
            case [slot.REPORTS_WAIT, *_]:
                self._pass_on_reports(process, orders)
            case [slot.UNLOADABLE, failure]:
                process.loaded = True
                process.take_back()
                self._home.tell([protocol.RANK_ENDED, *attempt, rank, State.FAILED.value, *_UNBEGUN, failure])
            case _:
                return

    def _pass_on_reports(self, process: SlotProcess, orders: protocol.RankOrders) -> None:
        """Takes what a rank has reported, which counts where it is the chief."""
        for report in process.take_reports():
            if process.orders.index == orders.chief:
                self._home.tell([protocol.RANK_REPORT, *report[1:]])

    def _bury(self, process: SlotProcess, orders: protocol.RankOrders, status: int) -> None:
        while self._take(process, orders):
            pass  # what it told before it ended counts
        self._pass_on_reports(process, orders)
        self._home.forget(process.results.read_fd)
        self._home.forget(process.output)
        failure = killed_by = None
        if process.sent:  # it has not told its end
            failure = describe_end(status, process.ran_out_of_memory())
            killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) and process.verdict is None else None
        process.buried()
        process.close()
        self._processes[orders.evaluation].discard(process)
        if not self._processes[orders.evaluation]:
            del self._processes[orders.evaluation]
        rank = process.orders.index
        if self._chiefs.get(orders.evaluation, (None,))[0] is process:  # and not that of another attempt
            del self._chiefs[orders.evaluation]
        self._home.tell([protocol.RANK_GONE, orders.evaluation, orders.attempt, rank, failure, killed_by])
