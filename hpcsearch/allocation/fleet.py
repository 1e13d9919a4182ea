"""The nodes of an allocation: which of them take evaluations, which go, and what is recorded of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation import release
from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.executors import Executors
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.needs import Needs
from hpcsearch.allocation.nodes import NodeTable, Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.quarantine import Quarantine, Verdict
from hpcsearch.allocation.recording import Recording
from hpcsearch.allocation.tail import Tail
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Resources, State

log = logging.getLogger(__name__)

#: The state of a node that was set aside, to the end: that it was given back is seen from when it was held.
_ASIDE = "QUARANTINED"

Running = Iterable[tuple[Placement, float | None]]


class Fleet:
    """Keeps the table of nodes.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        names: all its nodes, the driver's first.
        executor: who ends what runs on a node that goes.
        recording: where it is recorded.
    """

    def __init__(self, loop: Loop, plan: Plan, names: Sequence[str], executor: Executors, recording: Recording) -> None:
        self.table = NodeTable(names)
        self.needs = Needs(len(names), plan.evals_per_node)
        self._first = names[0]
        self._began_at = time.time()
        self._slots_planned = plan.evals_per_node
        self._executor = executor
        self._recording = recording
        self._left = set(names)
        self._aside: set[str] = set()  # held still, for nothing
        self._busy_s: dict[str, float] = {}  # by node: durations of its evaluations, added up
        self._tail = Tail(names[0])
        self._quarantine = Quarantine()
        self._release = release.prepare(loop, plan, names, self._empty, self._released)

    # ---- what happens to nodes

    def up(self, name: str, facts: Mapping[str, Any], slots: int) -> None:
        """A node can take evaluations."""
        self.table.add(name, slots)
        self.needs.node_up(facts)
        self._busy_s.setdefault(name, 0.0)
        self._recording.node(
            name,
            state="UP",
            slots=slots,
            cores=len(facts["cores"]),
            gpus=len(facts["gpus"]),
            memory_mb=facts["memory_mb"],
            held_from_at=self._began_at,
        )

    def lost(self, name: str, reason: str) -> bool:
        """A node is lost for good; returns whether any is left."""
        log.error("node %s is out of the search: %s", name, reason)
        self._ends([name], "LOST", time.time(), reason)
        if self._release is not None:
            self._release.lost(name)
        return bool(self._left)

    def emptied(self, name: str) -> None:
        """Everything on a node has ended, its agent included."""
        if self._release is not None:
            self._release.emptied(name)

    @property
    def left(self) -> int:
        """How many nodes are there still, or are still to come up."""
        return len(self._left)

    def slots_of(self, resources: Resources) -> int:
        """How many slots such an evaluation takes, on all its nodes."""
        try:
            need = self.needs.of(resources)
        except AllocationError:
            return 1  # none of them will run
        return need.nodes * need.on(self._slots_planned)

    def take(self, placement: Placement, end: Ended) -> None:
        """An evaluation ended there: its nodes have worked, and may show that they fail whatever is run on them."""
        for slot in placement.slots:
            self._busy_s[slot.node] = self._busy_s.get(slot.node, 0.0) + (end.duration_s or 0.0)
        for node in placement.nodes:
            self._quarantine.take(node, end.state)
        if end.state is State.FAILED or self.table.resting:
            self._judge({*placement.nodes, *self.table.resting})

    def _judge(self, names: set[str]) -> None:
        for name in names & self.table.nodes.keys():
            verdict = self._quarantine.verdict(name)
            if verdict is Verdict.BAD:
                self._set_aside(name)
            elif verdict is Verdict.WAITS:
                self.table.rest(name)
            else:
                self.table.wake(name)

    def _set_aside(self, node: str) -> None:
        reason = "its evaluations failed one after the other while those on other nodes did not"
        log.error("node %s takes no more evaluations: %s", node, reason)
        self._left.discard(node)
        self._aside.add(node)
        self._recording.node(node, state=_ASIDE, reason=reason)
        if self._release is not None:
            self._release.set_aside(node)
        self._empty([node])

    def _empty(self, nodes: Sequence[str]) -> None:
        for name in nodes:
            self.table.remove(name)
        self._executor.empty(nodes)

    def _released(self, nodes: list[str], at: float) -> None:
        self._ends(nodes, "RELEASED", at)

    def _ends(self, names: Iterable[str], state: str, at: float, reason: str | None = None) -> None:
        for name in names:
            self._left.discard(name)
            told = {"state": _ASIDE} if name in self._aside else {"state": state, "reason": reason}
            self._aside.discard(name)
            busy_s = self._busy_s.get(name, 0.0) / self._slots_planned
            self._recording.node(name, held_to_at=at, busy_s=busy_s, **told)

    def end(self) -> None:
        """The search ends here, and with it what the nodes are held for."""
        self._ends((self._left | self._aside) & self._busy_s.keys(), "DONE", time.time())

    def close(self) -> None:
        """Ends the process that asks the scheduler."""
        if self._release is not None:
            self._release.close()

    # ---- the last round

    @property
    def shrinks(self) -> bool:
        """Whether nodes can be given back early."""
        return self._release is not None and self._release.possible

    def takers(self, running: Running, left: float, durations: Durations) -> list[str] | None:
        """The nodes that take what is left of the budget; None as long as all do. See ``Tail.takers``."""
        if not self.shrinks:
            return None
        return self._tail.takers(self.table, running, left, durations, time.monotonic())

    def takers_of_nodes(self, nodes: float) -> list[str] | None:
        """The nodes that take the last evaluations, where these take so many nodes; None as long as all do.

        Those that are idle are kept as far as they are needed, the first one first, for it cannot go.
        """
        if not self.shrinks:
            return None
        idle = [name for name, node in self.table.nodes.items() if node.idle]
        if nodes >= len(idle):
            return None
        idle.sort(key=lambda name: name != self._first)
        kept = [*idle[: int(nodes)], *(name for name, node in self.table.nodes.items() if not node.idle)]
        return kept if self._first in kept else [*kept, self._first]

    def give_back(self, takers: Sequence[str] | None, running: Running, durations: Durations) -> None:
        """Gives back the idle nodes that are not among those that take what is left, and those that were set aside."""
        if self._release is None:
            return
        idle = [] if takers is None else release.surplus(self.table, takers)
        self._release.offer(
            idle,
            lambda: self._tail.better_later(self.table, running, idle, takers or (), durations, time.monotonic()),
        )
