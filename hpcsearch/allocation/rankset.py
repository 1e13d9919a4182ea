"""One evaluation with several ranks, from its placing to its end: what its nodes' agents are told, and what follows.

It ends when the last of its processes has: its nodes are free then. It begins when all ranks have begun. The chief's
value is its objective; the first rank that fails ends it, and the others are killed at once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.loop import Loop, Timer
from hpcsearch.allocation.rankplan import Address, Library, Shape, ranks_of
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.worker import protocol
from hpcsearch.worker.protocol import Share

#: Ranks that are started must begin within this time (seconds): a file system may be slow when thousands import.
START_LIMIT_S = 900.0
#: Once the first rank has begun, the others must within this time (seconds): they have the same to import.
BEGIN_LIMIT_S = 120.0
#: When a rank tells that another has gone, that other's own end is waited for so long (seconds): it is the reason.
CAUSE_LIMIT_S = 2.0
#: Ranks that have told their value may take so long to end (seconds).
EXIT_LIMIT_S = 15.0

#: How libraries tell in one rank that another has gone: a kind of error, or a part of its message.
_FOLLOWING = ("HorovodInternalError", "DistBackendError", "DistNetworkError")
_FOLLOWING_WORDS = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe")

Failure = Mapping[str, str]


@dataclass(frozen=True)
class Limits:
    """How long things may take (seconds)."""

    evaluation_s: float | None = None
    start_s: float = START_LIMIT_S
    begin_s: float = BEGIN_LIMIT_S
    cause_s: float = CAUSE_LIMIT_S
    exit_s: float = EXIT_LIMIT_S


class Owner:
    """What a set of ranks needs of its executor."""

    def send(self, host: str, message: dict[str, Any]) -> None:
        """Tells a node's agent something."""
        raise NotImplementedError

    def begun(self, ranks: RankSet, at: float) -> None:
        """All ranks have begun."""
        raise NotImplementedError

    def ended(self, ranks: RankSet, end: Ended | None) -> None:
        """All processes have ended; None: it is taken back before it began."""
        raise NotImplementedError


class RankSet:
    """The ranks of one attempt.

    Args:
        loop: the driver's.
        owner: its executor.
        evaluation: what is run.
        library: how its ranks find each other.
        shape: how many there are.
        shares: of each of its nodes in turn, by name, what it gets there.
        limits: how long things may take.
    """

    def __init__(
        self,
        loop: Loop,
        owner: Owner,
        evaluation: Evaluation,
        library: Library,
        shape: Shape,
        shares: Mapping[str, Share],
        limits: Limits,
    ) -> None:
        self.evaluation = evaluation
        self.hosts = list(shares)
        self._loop = loop
        self._owner = owner
        self._library = library
        self._shape = shape
        self._shares = shares
        self._limits = limits
        self._at: dict[str, Address] = {}
        self._alive: set[int] = set()
        self._begun: dict[int, float] = {}
        self._ends: dict[int, Ended] = {}
        self.told_begun = False
        self._suspect: tuple[int, Failure, int | None] | None = None
        self._verdict: Ended | None = None
        self._killed = False
        self._done = False
        self._timers: list[Timer] = []

    # ---- orders

    def prepare(self) -> None:
        """Has its nodes made ready."""
        shape = self._shape
        for node, host in enumerate(self.hosts):
            meets = [[name, shape.ranks_per_node] for name in self.hosts] if self._library.served and not node else None
            orders = {**self._attempt(), "ports": self._library.ports(shape, node), "hosts": meets}
            self._owner.send(host, {"op": protocol.PREPARE, "orders": orders})

    def kill(self, state: State) -> None:
        """Ends it, in this state if it has begun."""
        self._end(state, None)

    def _attempt(self) -> dict[str, int]:
        return {"evaluation": self.evaluation.id, "attempt": self.evaluation.attempt}

    def _start(self) -> None:
        at = [self._at[host] for host in self.hosts]
        try:
            of_hosts = [
                ranks_of(self._library, self._shape, node, self.hosts, at, self._shares[host])
                for node, host in enumerate(self.hosts)
            ]
        except AllocationError as error:
            failure = {"kind": "TooManyRanks", "message": error.message, "traceback": error.hint}
            self._end(State.FAILED, failure)
            return
        for node, (host, ranks) in enumerate(zip(self.hosts, of_hosts, strict=True)):
            orders = protocol.RankOrders(
                **self._attempt(),
                configuration=self.evaluation.configuration,
                hosts=self.hosts,
                size=self._shape.size,
                node_rank=node,
                chief=self._shape.chief,
                ranks=[dataclasses.asdict(rank) for rank in ranks],
            )
            self._alive.update(rank.rank for rank in ranks)
            self._owner.send(host, {"op": protocol.START_RANKS, "orders": dataclasses.asdict(orders)})
        limit_s = self._limits.start_s
        self._later(limit_s, lambda: self._not_begun(f"within {limit_s:g} s"))

    # ---- what its nodes tell

    def prepared(self, host: str, address: str, ports: Sequence[int]) -> None:
        """A node is ready."""
        self._at[host] = Address(address, ports)
        if len(self._at) == len(self.hosts) and not self._killed:
            self._start()

    def unprepared(self, host: str, failure: Failure) -> None:
        """Its ranks cannot find each other."""
        self._fail(None, {**failure, "message": f"{host}: {failure['message']}"}, None)

    def rank_begun(self, rank: int, at: float) -> None:
        """A rank has called the run function."""
        self._begun[rank] = at
        if len(self._begun) == 1:
            limit_s = self._limits.begin_s
            self._later(limit_s, lambda: self._not_begun(f"within {limit_s:g} s of the first one"))
        if len(self._begun) == self._shape.size and not self._killed:
            self._tell_begun()
            if self._limits.evaluation_s is not None:
                self._later(self._limits.evaluation_s, self._overdue)

    def rank_ended(self, rank: int, end: Ended) -> None:
        """A rank has told its end; its process still has to."""
        self._ends[rank] = end
        early = end.state in (State.STOPPED, State.INTERRUPTED)  # it was asked to end, and has
        if early and rank == self._shape.chief and self._verdict is None:
            self._tell_begun()
            self._verdict = end
            self._kill()
        elif end.failure is not None and not early:
            self._fail(rank, end.failure, None, end.state)
        elif self._workers() <= self._ends.keys() and not self._killed:
            self._tell_begun()
            # Parameter servers serve for ever, and a library may wait for something at its end.
            self._later(self._limits.exit_s if self._alive <= self._ends.keys() else 0.0, self._kill)

    def rank_gone(self, rank: int, failure: Failure | None, killed_by: int | None) -> None:
        """A rank's process has ended."""
        self._alive.discard(rank)
        if failure is not None and not self._killed:
            self._fail(rank, failure, killed_by)
        if not self._alive and self._suspect is not None and self._verdict is None:
            self._no_cause()
        elif not self._alive:
            self._finish()

    def host_lost(self, host: str, reason: str) -> None:
        """A node has gone with all that was on it; what is on others is killed, and not waited for."""
        message = f"node {host} was lost: {reason}"
        self._end(State.LOST, {"kind": "NodeLost", "message": message, "traceback": ""})
        self._finish()

    # ---- what follows

    def _workers(self) -> set[int]:
        return set(range(self._shape.servers, self._shape.size))

    def _named(self, ranks: Sequence[int]) -> str:
        named = [f"rank {rank} on {self.hosts[rank // self._shape.ranks_per_node]}" for rank in ranks]
        return ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(delay_s, callback))

    def _tell_begun(self) -> None:
        if not self.told_begun:
            self.told_begun = True
            self._owner.begun(self, self._begun.get(self._shape.chief, time.time()))

    def _not_begun(self, when: str) -> None:
        missing = sorted(self._alive - self._begun.keys())
        if missing:
            message = f"{self._named(missing)} did not begin {when}"
            self._end(State.FAILED, {"kind": "RankMissing", "message": message, "traceback": ""})

    def _overdue(self) -> None:
        message = f"it ran longer than its time limit of {self._limits.evaluation_s:g} s"
        silent = sorted(self._alive - self._ends.keys())
        if self._ends and silent:
            message += f"; {self._named(silent)} had not ended"
        self._end(State.TIMED_OUT, {"kind": "Timeout", "message": message, "traceback": ""})

    def _fail(self, rank: int | None, failure: Failure, killed_by: int | None, state: State = State.FAILED) -> None:
        """Something went wrong in a rank: the reason, unless it tells that another rank has gone."""
        if self._killed:
            return
        said = "" if rank is None or self._shape.size == 1 else f"{self._named([rank])}: "
        told = {**failure, "message": f"{said}{failure['message']}"}
        if rank is None or not _follows(failure):
            self._end(state, told, killed_by)
        elif self._suspect is None:
            self._suspect = (rank, told, killed_by)
            self._later(self._limits.cause_s, self._no_cause)

    def _no_cause(self) -> None:
        """A rank has told that another has gone, and none has: it may hang."""
        assert self._suspect is not None
        rank, failure, killed_by = self._suspect
        silent = sorted(self._alive - self._ends.keys() - {rank})
        more = f"; {self._named(silent)} had not ended: it may have been stopped, or hang" if silent else ""
        self._end(State.FAILED, {**failure, "message": failure["message"] + more}, killed_by)

    def _end(self, state: State, failure: Failure | None, killed_by: int | None = None) -> None:
        """Kills what is left; when it has gone, this is how the evaluation has ended."""
        if self._verdict is not None or self._done:
            return
        if state is State.FAILED:
            self._tell_begun()  # whatever ends by itself has begun
        first = min(self._begun.values(), default=time.time())
        started_at = self._begun.get(self._shape.chief, first)
        ended_at = time.time()
        self._verdict = Ended(
            state, started_at, ended_at, max(0.0, ended_at - started_at), failure=failure, killed_by=killed_by
        )
        self._kill()
        if not self._alive:
            self._finish()

    def _kill(self) -> None:
        self._killed = True
        for host in self.hosts:
            self._owner.send(host, {"op": protocol.END_RANKS, "evaluation": self.evaluation.id})

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        for timer in self._timers:
            timer.cancelled = True
        if not self._killed:
            self._kill()  # where its ranks met is still there
        end = self._verdict or self._ends.get(self._shape.chief)
        self._owner.ended(self, end if self.told_begun else None)


def _follows(failure: Failure) -> bool:
    """Whether an error is only that another rank has gone."""
    return failure["kind"] in _FOLLOWING or any(words in failure["message"] for words in _FOLLOWING_WORDS)
