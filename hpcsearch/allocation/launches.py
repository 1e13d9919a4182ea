"""The executor of job mode ``mpi``: each evaluation is a launch of its own, by the site's launcher, on its own nodes.

The desk, a process beside the driver, holds the launches (see ``desk``). Agents are there in this mode too: they tell
what their nodes have, and when one has gone; and after each launch they end what may be left of it, so that its nodes
are free for the next one whatever the launcher does.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hpcsearch.allocation import desk
from hpcsearch.allocation.agents import Agents
from hpcsearch.allocation.executor import Ended, Listener
from hpcsearch.allocation.launchorders import flag_of, mark_of, orders_of
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.outcome import Heard, end_of
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.program import Command
from hpcsearch.worker import protocol, telling

log = logging.getLogger(__name__)

#: A desk that died is started again so often without a launch that went well in between.
MAX_RESTARTS = 3
#: Where most of the launches that the scheduler takes in one allocation are used up, it is said.
WARN_SHARE = 0.9


class DeskDiedError(Exception):
    """No launch can be started any more: the driver ends too, and is started again by its job script."""


@dataclass
class _Sent:
    """An evaluation that was handed to the desk, and what is known of it."""

    evaluation: Evaluation
    placement: Placement
    mark: str
    command: Command | None
    heard: Heard = field(default_factory=Heard)
    gone: Mapping[str, Any] | None = None
    to_sweep: set[str] = field(default_factory=set)


class LaunchExecutor:
    """Runs evaluations as launches.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        agents: those of the nodes.
        time_left_s: seconds until evaluations must have ended.
        listener: who is told what happens.
    """

    def __init__(self, loop: Loop, plan: Plan, agents: Agents, time_left_s: float, listener: Listener) -> None:
        self._loop = loop
        self._plan = plan
        self._agents = agents
        self._listener = listener
        self._ends_s = time.monotonic() + time_left_s
        self._sent: dict[int, _Sent] = {}
        #: What is to be swept on a host whose agent is to come again, and what is being swept there.
        self._unswept: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._sweeping: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._restarts = 0
        self._launches = 0
        self._closing = False
        agents.on(protocol.SWEPT, self._swept)
        agents.on_hello(self._hello, self._occupied)
        agents.on_down(self._node_down)
        self._open()

    # ---- Executor

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        command = None if evaluation.program is None else Command(**evaluation.program)
        sent = _Sent(evaluation, placement, mark_of(self._plan, evaluation), command)
        self._sent[evaluation.id] = sent
        try:
            time_left_s = self._ends_s - time.monotonic()
            orders = orders_of(self._plan, evaluation, placement, command, self._agents.shares, time_left_s)
        except AllocationError as error:
            self._refuse(sent, error)
            return
        self._launches += 1
        if self._launches == int(WARN_SHARE * self._plan.max_launches):
            log.warning(
                "%d evaluations were launched, and the scheduler takes %d launches in one allocation (MaxStepCount): "
                "another allocation goes on when these are used up",
                self._launches,
                self._plan.max_launches,
            )
        self._peer.send({"op": desk.LAUNCH, "orders": asdict(orders)})

    def _refuse(self, sent: _Sent, error: AllocationError) -> None:
        """Ends an evaluation whose ranks do not fit there, in the driver's next turn: this one is placing it."""
        now = time.time()
        failure = {"kind": "TooManyRanks", "message": error.message, "traceback": error.hint}
        end = Ended(State.FAILED, now, now, 0.0, failure=failure)

        def tell() -> None:
            del self._sent[sent.evaluation.id]
            self._listener.started(sent.evaluation, sent.placement, now)
            self._listener.ended(sent.evaluation, sent.placement, end)

        self._loop.call_later(0.0, tell)

    def dispatch(self) -> None:
        """Launches go off one by one."""

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        for sent in self._known(evaluations):
            message = {"op": protocol.STOP_LAUNCH, "path": flag_of(sent.mark), "evaluation": sent.evaluation.id}
            self._agents.send(sent.placement.node, {**message, "state": state.value})

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        for sent in self._known(evaluations):
            self._end(sent, state)

    def recall(self, evaluations: Iterable[int]) -> None:
        for sent in self._known(evaluations):
            if sent.heard.begun_at is None:
                self._end(sent, State.INTERRUPTED)

    def close(self) -> None:
        self._closing = True
        self._peer.stop(desk.TERM_S + 1.0)

    def _known(self, evaluations: Iterable[int]) -> list[_Sent]:
        return [self._sent[identity] for identity in evaluations if identity in self._sent]

    def _end(self, sent: _Sent, verdict: State, reason: Mapping[str, str] | None = None) -> None:
        if sent.heard.verdict is None and sent.gone is None:
            sent.heard.verdict, sent.heard.reason = verdict, reason
            self._peer.send({"op": desk.KILL, "evaluation": sent.evaluation.id})

    # ---- the desk

    def _open(self) -> None:
        plan = self._plan
        self._peer = Peer(
            self._loop,
            [sys.executable, "-P", "-m", "hpcsearch.allocation.desk"],
            lambda message: _EVENTS[message[0]](self, *message[1:]),
            self._desk_ended,
        )
        launch = [plan.mpi.kind, list(plan.mpi.arguments), plan.mpi.program]
        self._peer.send({"op": desk.OPEN, "launch": launch, "launches_per_s": plan.launches_per_s})

    def _desk_ended(self) -> None:
        if self._closing:
            return
        status = self._peer.stop(1.0)
        self._restarts += 1
        log.error("the process that launches evaluations ended with status %s; starting it again", status)
        if self._restarts > MAX_RESTARTS:
            raise DeskDiedError(f"the process that launches evaluations ended with status {status}")
        message = f"the process that had launched it ended with status {status}"
        self._open()
        for identity in list(self._sent):
            sent = self._sent[identity]
            if sent.gone is None:
                sent.heard.verdict = sent.heard.verdict or State.LOST
                sent.heard.reason = sent.heard.reason or {"kind": "LaunchLost", "message": message, "traceback": ""}
                self._gone(identity, {"status": 0, "last_lines": []})

    def _ready(self, kind: str, program: str) -> None:
        log.info("evaluations are launched by %s%s", kind, f" ({program})" if program else "")

    def _unable(self, message: str) -> None:
        self._listener.unable(message)

    # ---- what becomes of launches

    def _begun(self, identity: int, at: float) -> None:
        sent = self._sent[identity]
        sent.heard.begun_at = at
        self._restarts = 0
        self._listener.started(sent.evaluation, sent.placement, at)

    def _reported(self, identity: int, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        self._listener.reported(self._sent[identity].evaluation, step, at, metrics)

    def _present(self, identity: int) -> None:
        self._sent[identity].heard.present = True

    def _told_end(self, identity: int, *end: Any) -> None:
        self._sent[identity].heard.end = list(end)

    def _told_failure(self, identity: int, rank: int, host: str, failure: Mapping[str, str]) -> None:
        sent = self._sent[identity]
        sent.heard.failure = sent.heard.failure or (rank, host, failure)

    def _gone(self, identity: int, gone: Mapping[str, Any]) -> None:
        sent = self._sent[identity]
        sent.gone = gone
        orders = {"op": protocol.SWEEP, "evaluation": identity, "mark": sent.mark, "path": flag_of(sent.mark)}
        for host in sent.placement.nodes:
            if self._agents.hears(host):
                sent.to_sweep.add(host)
                self._sweep(host, orders)
            else:
                self._unswept[host].append(orders)
        self._settle_when_swept(sent)

    def _sweep(self, host: str, orders: dict[str, Any]) -> None:
        self._sweeping[host][orders["evaluation"]] = orders
        self._agents.send(host, orders)

    def _swept(self, host: str, identity: int) -> None:
        self._sweeping[host].pop(identity, None)
        if identity in self._sent:
            self._sent[identity].to_sweep.discard(host)
            self._settle_when_swept(self._sent[identity])
        self._agents.settled([host])

    def _occupied(self, host: str) -> bool:
        return bool(self._sweeping[host]) or any(host in sent.placement.nodes for sent in self._sent.values())

    def _hello(self, host: str) -> None:
        """An agent that has come again sweeps what the one before it had been told to."""
        for orders in self._unswept.pop(host, []):
            self._sweep(host, orders)

    def _node_down(self, host: str, reason: str, _recall: bool) -> None:
        failure = {"kind": "NodeLost", "message": f"node {host} was lost: {reason}", "traceback": ""}
        self._unswept[host] += self._sweeping.pop(host, {}).values()
        for sent in [sent for sent in self._sent.values() if host in sent.placement.nodes]:
            if sent.gone is None:
                self._end(sent, State.LOST, failure)
            else:
                sent.to_sweep.discard(host)
                self._settle_when_swept(sent)

    def _settle_when_swept(self, sent: _Sent) -> None:
        if sent.to_sweep or sent.gone is None:
            return
        del self._sent[sent.evaluation.id]
        self._tell_end(sent, sent.gone)
        self._agents.settled(sent.placement.nodes)

    def _tell_end(self, sent: _Sent, gone: Mapping[str, Any]) -> None:
        if sent.heard.begun_at is None and sent.heard.verdict is not None:
            self._listener.recalled(sent.evaluation, sent.placement)
            return
        directory = f"{self._plan.directory}/evaluations/{sent.evaluation.id}"
        end = end_of(sent.heard, gone, sent.command, directory, self._plan.eval_timeout_s)
        if sent.heard.begun_at is None:
            self._listener.started(sent.evaluation, sent.placement, end.ended_at)
        self._listener.ended(sent.evaluation, sent.placement, end)


_EVENTS: Mapping[str, Callable[..., None]] = {
    desk.READY: LaunchExecutor._ready,
    desk.UNABLE: LaunchExecutor._unable,
    desk.GONE: LaunchExecutor._gone,
    telling.PRESENT: LaunchExecutor._present,
    telling.BEGUN: LaunchExecutor._begun,
    telling.REPORT: LaunchExecutor._reported,
    telling.ENDED: LaunchExecutor._told_end,
    telling.FAILED: LaunchExecutor._told_failure,
}
