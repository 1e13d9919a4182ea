"""The executor of job mode ``serial``: an agent on each node, whose slots hold one evaluation each at a time."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.executor import Ended, Listener
from hpcsearch.allocation.launch import Host, agent_argv, environment_for, is_launched
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement, plan_slots
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.worker import protocol

log = logging.getLogger(__name__)

#: An agent that is silent so long (seconds) is given up, and its node with it.
SILENCE_S = 6 * protocol.BEAT_S
#: An agent that has not spoken so long (seconds) after it was started is given up: its node may be down.
START_LIMIT_S = 120.0
#: An agent that ended is started again so often, before its node is given up.
MAX_RESTARTS = 3
#: Agents that are being started at the same time: launchers and file systems take so many, not thousands.
MAX_STARTING = 64


class _Agent:
    """One node's agent, and what was sent to it: evaluations by id, with their slot and whether they have begun."""

    def __init__(self, host: Host) -> None:
        self.place = host
        self.host = host.name
        self.restarts = 0
        self.leaving = False
        self.peer: Peer | None = None
        self.up = False
        self.heard_s = 0.0
        self.unloadable = 0
        self.sent: dict[int, tuple[Evaluation, Placement]] = {}
        self.begun: dict[int, float] = {}


class SlotExecutor:
    """Runs evaluations in slots.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        hosts: its nodes.
        time_left_s: seconds until evaluations must have ended.
        listener: who is told what happens.
    """

    def __init__(self, loop: Loop, plan: Plan, hosts: Sequence[Host], time_left_s: float, listener: Listener) -> None:
        self._loop = loop
        self._plan = plan
        self._listener = listener
        self._ends_s = time.monotonic() + time_left_s
        self._agents = {host.name: _Agent(host) for host in hosts}
        self._to_start = [host.name for host in reversed(hosts)]
        self._starting = 0
        self._orders: dict[str, list[list[Any]]] = defaultdict(list)
        self._where: dict[int, str] = {}
        self._closing = False
        self._start_agents()
        loop.call_later(SILENCE_S / 2, self._listen_for_silence)
        loop.call_later(protocol.BEAT_S, self._beat)

    # ---- Executor

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        self._agents[placement.node].sent[evaluation.id] = (evaluation, placement)
        self._where[evaluation.id] = placement.node
        self._orders[placement.node].append(
            [evaluation.id, evaluation.attempt, placement.slot, evaluation.configuration]
        )

    def dispatch(self) -> None:
        for host, evaluations in self._orders.items():
            self._send(host, {"op": protocol.RUN, "evaluations": evaluations})
        self._orders.clear()

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        self._tell_holders(evaluations, {"op": protocol.KILL, "state": state.value})

    def recall(self, evaluations: Iterable[int]) -> None:
        self._tell_holders(evaluations, {"op": protocol.RECALL})

    def empty(self, nodes: Iterable[str]) -> None:
        for name in nodes:
            self._agents[name].leaving = True
            self._send(name, {"op": protocol.EXIT})

    def close(self) -> None:
        self._closing = True
        running = [agent.peer for agent in self._agents.values() if agent.peer is not None]
        for peer in running:
            peer.hang_up()  # all at once; a launcher is told by nothing else, for it would find its agent gone
        for peer in running:
            peer.stop(protocol.BEAT_S)

    def _tell_holders(self, evaluations: Iterable[int], message: dict[str, Any]) -> None:
        by_host: dict[str, list[int]] = defaultdict(list)
        for identity in evaluations:
            if identity in self._where:
                by_host[self._where[identity]].append(identity)
        for host, identities in by_host.items():
            self._send(host, {**message, "evaluations": identities})

    def _send(self, host: str, message: Any) -> None:
        peer = self._agents[host].peer
        if peer is not None:
            peer.send(message)

    # ---- agents

    def _start_agents(self) -> None:
        while self._to_start and self._starting < MAX_STARTING:
            self._start_agent(self._agents[self._to_start.pop()])

    def _start_agent(self, agent: _Agent) -> None:
        self._starting += 1
        agent.heard_s = time.monotonic()
        argv = agent_argv(agent.place, self._plan.launch)
        agent.peer = Peer(
            self._loop,
            argv,
            lambda events: self._take(agent, events),
            lambda: self._agent_ended(agent),
            environment_for(argv, self._plan.launch),
            own_session=is_launched(argv, self._plan.launch),
        )

    def _take(self, agent: _Agent, events: list[list[Any]]) -> None:
        agent.heard_s = time.monotonic()
        for event in events:
            _EVENTS[event[0]](self, agent, *event[1:])

    def _hello(self, agent: _Agent, facts: dict[str, Any]) -> None:
        self._starting -= 1
        self._start_agents()
        plan = self._plan
        try:
            shares = _shares(plan, facts)
        except AllocationError as error:
            self._give_up(agent, str(error))
            return
        reuse = _reuse(plan.slot_reuse, any(share.gpus for share in shares))
        setup = protocol.Setup(
            slots=[dataclasses.asdict(share) for share in shares],
            run=plan.run,
            names=list(plan.names),
            cwd=plan.cwd,
            evaluations=f"{plan.directory}/evaluations",
            time_left_s=self._ends_s - time.monotonic(),
            eval_timeout_s=plan.eval_timeout_s,
            reuse=reuse,
            gpu_variable=plan.gpu_variable,
            output_limit_bytes=plan.output_limit_bytes,
        )
        self._send(agent.host, {"op": protocol.SETUP, "orders": dataclasses.asdict(setup)})
        agent.up = True
        agent.unloadable = 0
        self._listener.node_up(agent.host, facts, len(shares))

    def _unloadable(self, agent: _Agent, slot: int, failure: Mapping[str, str]) -> None:
        agent.unloadable += 1
        log.error("slot %d on %s: the run function cannot be loaded: %s", slot, agent.host, failure["message"])
        if agent.unloadable == self._plan.evals_per_node:
            text = "\n".join(part for part in (failure["message"], failure["traceback"]) if part)
            self._give_up(agent, f"the run function cannot be loaded there: {text}")
            return
        placement = Placement(agent.host, slot)
        self._listener.slot_lost(placement, failure["message"])
        self.recall([identity for identity, (_, place) in agent.sent.items() if place == placement])

    def _agent_ended(self, agent: _Agent) -> None:
        peer, agent.peer = agent.peer, None
        assert peer is not None
        status = peer.stop(1.0)
        if not agent.up:
            self._starting -= 1
        if self._closing:
            return
        self._start_agents()
        reason = f"its agent ended with status {status}"
        self._drop(agent, reason)
        if agent.leaving:
            del self._agents[agent.host]
            self._listener.node_emptied(agent.host)
        elif agent.restarts < MAX_RESTARTS:
            agent.restarts += 1
            log.warning("node %s: %s; starting it again (%d of %d)", agent.host, reason, agent.restarts, MAX_RESTARTS)
            self._loop.call_later(0.1 * 4**agent.restarts - 0.3, lambda: self._restart(agent))
        else:
            self._to_start = [host for host in self._to_start if host != agent.host]
            del self._agents[agent.host]
            self._listener.node_lost(agent.host, f"{reason}, {MAX_RESTARTS + 1} times")

    def _restart(self, agent: _Agent) -> None:
        if not self._closing:
            self._start_agent(agent)

    def _give_up(self, agent: _Agent, reason: str) -> None:
        """Ends a node for good: it could not run anything."""
        peer, agent.peer = agent.peer, None
        if peer is not None:
            peer.stop(protocol.BEAT_S)
        self._drop(agent, reason, recall=True)
        del self._agents[agent.host]
        self._listener.node_lost(agent.host, reason)

    def _drop(self, agent: _Agent, reason: str, *, recall: bool = False) -> None:
        """What was sent to the node comes back: recalled, or lost where it had begun."""
        now = time.time()
        self._orders.pop(agent.host, None)
        sent, begun, was_up = agent.sent, agent.begun, agent.up
        agent.sent, agent.begun, agent.up = {}, {}, False
        for identity, (evaluation, placement) in sent.items():
            del self._where[identity]
            if recall or identity not in begun:
                self._listener.recalled(evaluation, placement)
            else:
                failure = {"kind": "NodeLost", "message": f"node {agent.host} was lost: {reason}", "traceback": ""}
                started_at = begun[identity]
                end = Ended(State.LOST, started_at, now, now - started_at, failure=failure)
                self._listener.ended(evaluation, placement, end)
        if was_up:
            self._listener.node_down(agent.host)

    def _beat(self) -> None:
        for host in self._agents:
            self._send(host, {"op": protocol.BEAT})
        if not self._closing:
            self._loop.call_later(protocol.BEAT_S, self._beat)

    def _listen_for_silence(self) -> None:
        now_s = time.monotonic()
        for agent in list(self._agents.values()):
            limit_s = SILENCE_S if agent.up else START_LIMIT_S
            if agent.peer is not None and now_s - agent.heard_s > limit_s:
                log.error("node %s: its agent has been silent for %.0f s and is given up", agent.host, limit_s)
                agent.peer.process.kill()
        if not self._closing:
            self._loop.call_later(SILENCE_S / 2, self._listen_for_silence)

    # ---- evaluations

    def _started(self, agent: _Agent, identity: int, _attempt: int, _slot: int, at: float) -> None:
        evaluation, placement = agent.sent[identity]
        agent.begun[identity] = at
        self._listener.started(evaluation, placement, at)

    def _ended(
        self,
        agent: _Agent,
        identity: int,
        _attempt: int,
        _slot: int,
        state: str,
        started_at: float,
        ended_at: float,
        duration_s: float,
        objective: float | None,
        metadata: Mapping[str, Any] | None,
        failure: Mapping[str, str] | None,
        killed_by: int | None,
    ) -> None:
        evaluation, placement = agent.sent.pop(identity)
        del agent.begun[identity], self._where[identity]
        end = Ended(State(state), started_at, ended_at, duration_s, objective, metadata, failure, killed_by)
        self._listener.ended(evaluation, placement, end)

    def _recalled(self, agent: _Agent, identity: int) -> None:
        evaluation, placement = agent.sent.pop(identity)
        del self._where[identity]
        self._listener.recalled(evaluation, placement)

    def _reported(
        self, agent: _Agent, identity: int, _attempt: int, step: float | None, at: float, metrics: Mapping[str, Any]
    ) -> None:
        self._listener.reported(agent.sent[identity][0], step, at, metrics)

    def _terminating(self, _agent: _Agent) -> None:
        self._listener.terminating()

    def _nothing(self, _agent: _Agent, *_: Any) -> None:
        """An event that only shows that the agent is alive."""


_EVENTS: Mapping[str, Callable[..., None]] = {
    protocol.HELLO: SlotExecutor._hello,
    protocol.READY: SlotExecutor._nothing,
    protocol.UNLOADABLE: SlotExecutor._unloadable,
    protocol.STARTED: SlotExecutor._started,
    protocol.ENDED: SlotExecutor._ended,
    protocol.REPORT: SlotExecutor._reported,
    protocol.RECALLED: SlotExecutor._recalled,
    protocol.TERMINATING: SlotExecutor._terminating,
    protocol.BEAT: SlotExecutor._nothing,
}


def _shares(plan: Plan, facts: Mapping[str, Any]) -> list[protocol.Share]:
    """What each slot of a node gets, by what its agent found there.

    Raises:
        AllocationError: the agent has fewer cores than planned: the launcher has bound it, or the site file is wrong.
    """
    if plan.bind and len(facts["cores"]) < plan.cores:
        raise AllocationError(
            f"The agent on {facts['host']} was given {len(facts['cores'])} of {plan.cores} cores.",
            "Its launcher has bound it: see agent_arguments in the site file, or take what is there with --no-bind.",
        )
    cores = [core for core in facts["cores"] if core[0] not in plan.reserved_cores]
    gpus = facts["gpus"]
    if len(gpus) == len(plan.gpu_order):
        gpus = [gpus[number] for number in plan.gpu_order]
    return plan_slots(cores, gpus, plan.evals_per_node, plan.bind)


def _reuse(setting: str, owns_gpus: bool) -> int:
    """Evaluations per slot process, 0 for no limit. GPU memory leaks from one evaluation into the next."""
    choices = {"always": 0, "never": 1, "auto": 1 if owns_gpus else 0}
    return choices[setting] if setting in choices else int(setting)
