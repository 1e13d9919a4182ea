"""All ways of running evaluations in an allocation, over the same agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcsearch.allocation.agents import Agents
from hpcsearch.allocation.executor import Executor, Listener
from hpcsearch.allocation.launch import Host
from hpcsearch.allocation.launches import LaunchExecutor
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.ranks import RanksExecutor
from hpcsearch.allocation.slots import SlotExecutor
from hpcsearch.evaluation import Evaluation, State


class Executors:
    """Sends each evaluation to the executor that runs its kind.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        hosts: its nodes.
        time_left_s: seconds until evaluations must have ended.
        listener: who is told what happens.
    """

    def __init__(self, loop: Loop, plan: Plan, hosts: Sequence[Host], time_left_s: float, listener: Listener) -> None:
        self._agents = Agents(loop, plan, hosts, time_left_s, listener)
        self._slots: Executor = SlotExecutor(self._agents, listener)
        #: What runs those that are not single processes in a slot.
        self._main: Executor = self._slots
        if plan.data_parallel is not None:
            self._main = RanksExecutor(loop, plan, self._agents, listener)
        elif plan.job_mode == "mpi":
            self._main = LaunchExecutor(loop, plan, self._agents, time_left_s, listener)
        self._all = (self._slots,) if self._main is self._slots else (self._slots, self._main)

    def _way(self, evaluation: Evaluation) -> Executor:
        program = evaluation.program
        return self._slots if program is not None and program["launcher"] == "none" else self._main

    def start(self, evaluation: Evaluation, placement: Placement) -> None:
        self._way(evaluation).start(evaluation, placement)

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        identities = list(evaluations)
        for way in self._all:
            way.stop(identities, state)

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        identities = list(evaluations)
        for way in self._all:
            way.kill(identities, state)

    def recall(self, evaluations: Iterable[int]) -> None:
        identities = list(evaluations)
        for way in self._all:
            way.recall(identities)

    def dispatch(self) -> None:
        for way in self._all:
            way.dispatch()

    def empty(self, nodes: Iterable[str]) -> None:
        """Ends everything on nodes that take no more evaluations."""
        self._agents.empty(nodes)

    def close(self) -> None:
        """Ends all processes on all nodes."""
        for way in self._all:
            way.close()
        self._agents.close()
