"""The executor of data-parallel evaluations: the agents that are on the nodes already start their ranks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.agents import Agents
from hpcsearch.allocation.executor import Ended, Listener
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.rankplan import LIBRARIES, Shape
from hpcsearch.allocation.rankset import Limits, Owner, RankSet
from hpcsearch.allocation.rankshares import share_on
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.worker import protocol


def is_own_alone(address: str) -> bool:
    """Whether an address leads back to whoever uses it."""
    return ipaddress.ip_address(address).is_loopback


class RanksExecutor(Owner):
    """Runs evaluations with several ranks each.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        agents: who start the ranks.
        listener: who is told what happens.
    """

    def __init__(self, loop: Loop, plan: Plan, agents: Agents, listener: Listener) -> None:
        self._loop = loop
        self._plan = plan
        self._agents = agents
        self._listener = listener
        self._limits = Limits(plan.eval_timeout_s)
        self._sets: dict[int, RankSet] = {}
        self._placements: dict[int, Placement] = {}
        agents.on(protocol.PREPARED, self._prepared)
        agents.on(protocol.UNPREPARED, self._unprepared)
        agents.on(protocol.RANK_BEGUN, self._rank_begun)
        agents.on(protocol.RANK_ENDED, self._rank_ended)
        agents.on(protocol.RANK_GONE, self._rank_gone)
        agents.on(protocol.RANK_REPORT, self._reported)
        agents.on_hello(lambda _host: None, self._occupied)
        agents.on_down(self._drop)

    # ---- Executor

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        assert self._plan.data_parallel is not None
        library = LIBRARIES[self._plan.data_parallel]
        shape = Shape(len(placement.nodes), evaluation.resources.ranks_per_node, self._plan.num_ps)
        shares = {host: share_on(host, placement, self._agents.shares(host)) for host in placement.nodes}
        ranks = RankSet(self._loop, self, evaluation, library, shape, shares, self._limits)
        self._sets[evaluation.id], self._placements[evaluation.id] = ranks, placement
        ranks.prepare()

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        for identity in evaluations:
            for host in self._sets[identity].hosts if identity in self._sets else ():  # whose one has the chief
                self.send(host, {"op": protocol.STOP, "state": state.value, "evaluations": [identity]})

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        for identity in evaluations:
            if identity in self._sets:
                self._sets[identity].kill(state)

    def recall(self, evaluations: Iterable[int]) -> None:
        for identity in evaluations:
            if identity in self._sets and not self._sets[identity].told_begun:
                self._sets[identity].kill(State.INTERRUPTED)

    def dispatch(self) -> None:
        """Each is sent off as it is started."""

    def close(self) -> None:
        """Ranks end with their agents."""

    # ---- Owner

    def send(self, host: str, message: dict[str, Any]) -> None:
        self._agents.send(host, message)

    def begun(self, ranks: RankSet, at: float) -> None:
        self._listener.started(ranks.evaluation, self._placements[ranks.evaluation.id], at)

    def ended(self, ranks: RankSet, end: Ended | None) -> None:
        identity = ranks.evaluation.id
        del self._sets[identity]
        placement = self._placements.pop(identity)
        if end is None:
            self._listener.recalled(ranks.evaluation, placement)
        else:
            self._listener.ended(ranks.evaluation, placement, end)
        self._agents.settled(placement.nodes)

    def _occupied(self, host: str) -> bool:
        """Whether ranks of an evaluation that had a host are still to end, there or on others."""
        return any(host in placement.nodes for placement in self._placements.values())

    # ---- what agents tell

    def _of(self, identity: int, attempt: int) -> RankSet | None:
        """The ranks of an attempt; None when it has ended here, for the lack of one of its nodes."""
        found = self._sets.get(identity)
        return found if found is not None and found.evaluation.attempt == attempt else None

    def _prepared(self, host: str, identity: int, attempt: int, address: str, ports: Sequence[int]) -> None:
        ranks = self._of(identity, attempt)
        if ranks is None:
            return
        if len(ranks.hosts) > 1 and is_own_alone(address):
            self._agents.give_up(
                host,
                f"its own host name means {address} there, which ranks on other nodes cannot reach: "
                "an administrator has to take the name off that line of /etc/hosts",
            )
        else:
            ranks.prepared(host, address, ports)

    def _unprepared(self, host: str, identity: int, attempt: int, failure: Mapping[str, str]) -> None:
        ranks = self._of(identity, attempt)
        if ranks is not None:
            ranks.unprepared(host, failure)

    def _rank_begun(self, _host: str, identity: int, attempt: int, rank: int, at: float) -> None:
        ranks = self._of(identity, attempt)
        if ranks is not None:
            ranks.rank_begun(rank, at)

    def _rank_ended(self, _host: str, identity: int, attempt: int, rank: int, state: str, *end: Any) -> None:
        ranks = self._of(identity, attempt)
        if ranks is not None:
            ranks.rank_ended(rank, Ended(State(state), *end))

    def _rank_gone(
        self, _host: str, identity: int, attempt: int, rank: int, failure: Mapping[str, str] | None, killed: int | None
    ) -> None:
        ranks = self._of(identity, attempt)
        if ranks is not None:
            ranks.rank_gone(rank, failure, killed)

    def _reported(
        self, _host: str, identity: int, attempt: int, step: float | None, at: float, metrics: Mapping[str, Any]
    ) -> None:
        ranks = self._of(identity, attempt)
        if ranks is not None:
            self._listener.reported(ranks.evaluation, step, at, metrics)

    def _drop(self, host: str, reason: str, _recall: bool) -> None:
        for ranks in list(self._sets.values()):
            if host in ranks.hosts:
                ranks.host_lost(host, reason)
