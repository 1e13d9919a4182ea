"""The agents: one on each node, started through the launcher, heard, started again, given up, and ended.

What they tell of evaluations goes to whoever runs these (see ``on``); what they tell of nodes goes to the driver.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.executor import Listener
from hpcsearch.allocation.launch import Host, agent_argv, environment_for, is_launched
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import plan_slots
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import AllocationError
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

#: What an agent tells -> called with the agent's host, and with what it told.
Handler = Callable[..., None]
#: Called when what was sent to a host is gone: with its name, why, and whether even what had begun goes back untried.
OnDown = Callable[[str, str, bool], None]


class _Agent:
    """One node's agent."""

    def __init__(self, host: Host) -> None:
        self.place = host
        self.host = host.name
        self.restarts = 0
        self.leaving = False
        self.peer: Peer | None = None
        self.spoke = False
        self.up = False
        self.heard_s = 0.0
        self.shares: list[protocol.Share] = []
        self.facts: dict[str, Any] | None = None  # of one that has spoken and may not be used yet


class Agents:
    """Starts the agents of an allocation, and keeps the conversation with each.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        hosts: its nodes.
        time_left_s: seconds until evaluations must have ended.
        listener: who is told what happens to nodes.
    """

    def __init__(self, loop: Loop, plan: Plan, hosts: Sequence[Host], time_left_s: float, listener: Listener) -> None:
        self._loop = loop
        self._plan = plan
        self._listener = listener
        self._ends_s = time.monotonic() + time_left_s
        self._agents = {host.name: _Agent(host) for host in hosts}
        self._to_start = [host.name for host in reversed(hosts)]
        self._starting = 0
        self._closing = False
        self._on_hello: list[Callable[[str], None]] = []
        self._occupied: list[Callable[[str], bool]] = []
        self._on_down: list[OnDown] = []
        self._handlers: dict[str, Callable[..., None]] = {
            protocol.HELLO: self._hello,
            protocol.READY: self._nothing,
            protocol.TERMINATING: lambda _host: listener.terminating(),
            protocol.BEAT: self._nothing,
        }
        self._start_agents()
        loop.call_later(SILENCE_S / 2, self._listen_for_silence)
        loop.call_later(protocol.BEAT_S, self._beat)

    # ---- for those who run evaluations on the nodes

    def on(self, event: str, handler: Handler) -> None:
        """Has an event of the protocol answered: ``handler(host, ...)``."""
        self._handlers[event] = handler

    def on_down(self, callback: OnDown) -> None:
        """Has somebody told of an agent that ended, before the driver is told that its node is down."""
        self._on_down.append(callback)

    def on_hello(self, callback: Callable[[str], None], occupied: Callable[[str], bool]) -> None:
        """Has somebody told of an agent that can take orders, the first time or again.

        The driver is told that the node is up once nothing from before is ``occupied`` with it; see ``settled``.
        """
        self._on_hello.append(callback)
        self._occupied.append(occupied)

    def settled(self, hosts: Iterable[str]) -> None:
        """Something has ended on these hosts: those that were kept waiting for it can be used."""
        for host in hosts:
            agent = self._agents.get(host)
            if agent is not None and agent.facts is not None:
                self._bring_up(agent, agent.facts)

    def hears(self, host: str) -> bool:
        """Whether a host's agent takes orders now."""
        agent = self._agents.get(host)
        return agent is not None and agent.peer is not None and agent.spoke

    def send(self, host: str, message: Any) -> None:
        """Sends a message to a host's agent; where there is none any more its end has been told, or will be."""
        agent = self._agents.get(host)
        if agent is not None and agent.peer is not None:
            agent.peer.send(message)

    def shares(self, host: str) -> Sequence[protocol.Share]:
        """What each slot of a host has; nothing where its agent has not come up."""
        agent = self._agents.get(host)
        return agent.shares if agent is not None else ()

    def give_up(self, host: str, reason: str) -> None:
        """Ends a node for good: it could not run anything."""
        agent = self._agents.pop(host)
        peer, agent.peer = agent.peer, None
        if peer is not None:
            peer.stop(protocol.BEAT_S)
        self._drop(agent, reason, recall=True)
        self._listener.node_lost(host, reason)

    def empty(self, nodes: Iterable[str]) -> None:
        """Ends everything on nodes that take no more evaluations."""
        for name in nodes:
            self._agents[name].leaving = True
            self.send(name, {"op": protocol.EXIT})

    def close(self) -> None:
        """Ends everything on all nodes."""
        self._closing = True
        running = [agent.peer for agent in self._agents.values() if agent.peer is not None]
        for peer in running:
            peer.hang_up()  # all at once; a launcher is told by nothing else, for it would find its agent gone
        for peer in running:
            peer.stop(protocol.BEAT_S)

    # ---- their lives

    def _start_agents(self) -> None:
        while self._to_start and self._starting < MAX_STARTING:
            self._start_agent(self._agents[self._to_start.pop()])

    def _start_agent(self, agent: _Agent) -> None:
        self._starting += 1
        agent.spoke = False
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
            if agent.peer is None:
                return  # given up by the event before
            self._handlers[event[0]](agent.host, *event[1:])

    def _hello(self, host: str, facts: dict[str, Any]) -> None:
        agent, plan = self._agents[host], self._plan
        self._starting -= 1
        agent.spoke = True
        self._start_agents()
        try:
            agent.shares = _shares(plan, facts)
        except AllocationError as error:
            self.give_up(host, str(error))
            return
        setup = protocol.Setup(
            slots=[dataclasses.asdict(share) for share in agent.shares],
            run=plan.run,
            names=list(plan.names),
            cwd=plan.cwd,
            evaluations=f"{plan.directory}/evaluations",
            time_left_s=self._ends_s - time.monotonic(),
            eval_timeout_s=plan.eval_timeout_s,
            reuse=_reuse(plan.slot_reuse, any(share.gpus for share in agent.shares)),
            gpu_variable=plan.gpu_variable,
            output_limit_bytes=plan.output_limit_bytes,
            stop_raises=plan.stopping == "raise",
            stop_margin_s=plan.stop_margin_s,
            warm=plan.uses_slots,
        )
        self.send(host, {"op": protocol.SETUP, "orders": dataclasses.asdict(setup)})
        for callback in self._on_hello:
            callback(host)
        self._bring_up(agent, facts)

    def _bring_up(self, agent: _Agent, facts: dict[str, Any]) -> None:
        if any(occupied(agent.host) for occupied in self._occupied):
            agent.facts = facts
            return
        agent.facts = None
        agent.up = True
        self._listener.node_up(agent.host, facts, len(agent.shares))

    def _nothing(self, _host: str, *_: Any) -> None:
        """An event that only shows that the agent is alive."""

    def _agent_ended(self, agent: _Agent) -> None:
        peer, agent.peer = agent.peer, None
        assert peer is not None
        status = peer.stop(1.0)
        if not agent.spoke:
            self._starting -= 1
        if self._closing:
            return
        self._start_agents()
        reason = f"its agent ended with status {status}"
        again = not agent.leaving and agent.restarts < MAX_RESTARTS
        if not again:
            del self._agents[agent.host]
        self._drop(agent, reason)
        if agent.leaving:
            self._listener.node_emptied(agent.host)
        elif again:
            agent.restarts += 1
            log.warning("node %s: %s; starting it again (%d of %d)", agent.host, reason, agent.restarts, MAX_RESTARTS)
            self._loop.call_later(0.1 * 4**agent.restarts - 0.3, lambda: self._restart(agent))
        else:
            self._to_start = [host for host in self._to_start if host != agent.host]
            self._listener.node_lost(agent.host, f"{reason}, {MAX_RESTARTS + 1} times")

    def _restart(self, agent: _Agent) -> None:
        if not self._closing:
            self._start_agent(agent)

    def _drop(self, agent: _Agent, reason: str, *, recall: bool = False) -> None:
        was_up, agent.up, agent.facts = agent.up, False, None
        for callback in self._on_down:
            callback(agent.host, reason, recall)
        if was_up:
            self._listener.node_down(agent.host)

    def _beat(self) -> None:
        for host in self._agents:
            self.send(host, {"op": protocol.BEAT})
        if not self._closing:
            self._loop.call_later(protocol.BEAT_S, self._beat)

    def _listen_for_silence(self) -> None:
        now_s = time.monotonic()
        for agent in list(self._agents.values()):
            limit_s = SILENCE_S if agent.spoke else START_LIMIT_S
            if agent.peer is not None and now_s - agent.heard_s > limit_s:
                log.error("node %s: its agent has been silent for %.0f s and is given up", agent.host, limit_s)
                agent.peer.process.kill()
        if not self._closing:
            self._loop.call_later(SILENCE_S / 2, self._listen_for_silence)


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
