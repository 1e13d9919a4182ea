"""The executor of single processes: each slot of a node holds one evaluation at a time."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpcsearch.allocation.agents import Agents
from hpcsearch.allocation.executor import Ended, Listener
from hpcsearch.allocation.nodes import Placement
from hpcsearch.evaluation import Evaluation, State
from hpcsearch.worker import protocol

log = logging.getLogger(__name__)


@dataclass
class _Sent:
    """An evaluation that was sent to a slot, and when it began (seconds since 1970)."""

    evaluation: Evaluation
    placement: Placement
    begun_at: float | None = None


class SlotExecutor:
    """Runs evaluations in slots.

    Args:
        agents: who has the slots.
        listener: who is told what happens.
    """

    def __init__(self, agents: Agents, listener: Listener) -> None:
        self._agents = agents
        self._listener = listener
        self._sent: dict[int, _Sent] = {}
        self._orders: dict[str, list[list[Any]]] = defaultdict(list)
        self._unloadable: dict[str, int] = defaultdict(int)  # by host: slots that could not load the run function
        agents.on(protocol.UNLOADABLE, self._slot_unloadable)
        agents.on(protocol.STARTED, self._started)
        agents.on(protocol.ENDED, self._ended)
        agents.on(protocol.REPORT, self._reported)
        agents.on(protocol.RECALLED, self._recalled)
        agents.on_down(self._drop)

    # ---- Executor

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        self._sent[evaluation.id] = _Sent(evaluation, placement)
        order: list[Any] = [evaluation.id, evaluation.attempt, placement.slot, evaluation.configuration]
        if placement.others:
            order.append([one.slot for one in placement.others])
        self._orders[placement.node].append(order)

    def dispatch(self) -> None:
        for host, evaluations in self._orders.items():
            self._agents.send(host, {"op": protocol.RUN, "evaluations": evaluations})
        self._orders.clear()

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        self._tell_holders(evaluations, {"op": protocol.STOP, "state": state.value})

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        self._tell_holders(evaluations, {"op": protocol.KILL, "state": state.value})

    def recall(self, evaluations: Iterable[int]) -> None:
        self._tell_holders(evaluations, {"op": protocol.RECALL})

    def close(self) -> None:
        """Slots end with their agents."""

    def _tell_holders(self, evaluations: Iterable[int], message: dict[str, Any]) -> None:
        by_host: dict[str, list[int]] = defaultdict(list)
        for identity in evaluations:
            if identity in self._sent:
                by_host[self._sent[identity].placement.node].append(identity)
        for host, identities in by_host.items():
            self._agents.send(host, {**message, "evaluations": identities})

    # ---- what agents tell

    def _slot_unloadable(self, host: str, slot: int, failure: Mapping[str, str]) -> None:
        self._unloadable[host] += 1
        log.error("slot %d on %s: the run function cannot be loaded: %s", slot, host, failure["message"])
        if self._unloadable[host] == len(self._agents.shares(host)):
            text = "\n".join(part for part in (failure["message"], failure["traceback"]) if part)
            self._agents.give_up(host, f"the run function cannot be loaded there: {text}")
            return
        placement = Placement(host, slot)
        self._listener.slot_lost(placement, failure["message"])
        self.recall([identity for identity, sent in self._sent.items() if sent.placement == placement])

    def _drop(self, host: str, reason: str, recall: bool) -> None:
        """What was sent to the node comes back: recalled, or lost where it had begun."""
        now = time.time()
        self._orders.pop(host, None)
        self._unloadable.pop(host, None)
        gone = [(identity, sent) for identity, sent in self._sent.items() if sent.placement.node == host]
        for identity, sent in gone:
            del self._sent[identity]
            if recall or sent.begun_at is None:
                self._listener.recalled(sent.evaluation, sent.placement)
            else:
                failure = {"kind": "NodeLost", "message": f"node {host} was lost: {reason}", "traceback": ""}
                end = Ended(State.LOST, sent.begun_at, now, now - sent.begun_at, failure=failure)
                self._listener.ended(sent.evaluation, sent.placement, end)

    def _started(self, _host: str, identity: int, _attempt: int, _slot: int, at: float) -> None:
        sent = self._sent[identity]
        sent.begun_at = at
        self._listener.started(sent.evaluation, sent.placement, at)

    def _ended(
        self,
        _host: str,
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
        sent = self._sent.pop(identity)
        end = Ended(State(state), started_at, ended_at, duration_s, objective, metadata, failure, killed_by)
        self._listener.ended(sent.evaluation, sent.placement, end)

    def _recalled(self, _host: str, identity: int) -> None:
        sent = self._sent.pop(identity)
        self._listener.recalled(sent.evaluation, sent.placement)

    def _reported(
        self, _host: str, identity: int, _attempt: int, step: float | None, at: float, metrics: Mapping[str, Any]
    ) -> None:
        self._listener.reported(self._sent[identity].evaluation, step, at, metrics)
