"""Giving nodes back before the allocation ends: which ones, when, and in which order things happen.

A node goes once nothing will run on it any more. First its agent ends everything there and exits, then its launcher
process ends, and only then is the scheduler asked. Nodes that become idle within a short time go together, for some
schedulers take few changes; where one takes a single change, nodes wait for others as long as that is worth more.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from hpcsearch.allocation import shrunk
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import NodeTable
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.workflow.layout import Layout

log = logging.getLogger(__name__)

#: Nodes that become idle within so many seconds are given back together.
GATHER_S = 1.0
#: After a refusal that may pass, the next try is made so much later (seconds), so often.
RETRY_S, MAX_TRIES = 5.0, 4


def surplus(table: NodeTable, takers: Collection[str]) -> list[str]:
    """The idle nodes on which nothing more will be started, for ``takers`` take all that is left."""
    return [node.name for node in table.nodes.values() if node.idle and node.name not in takers]


class Release:
    """Gives nodes back.

    Args:
        loop: the driver's.
        folder: the allocation's.
        job_id: the scheduler's id of the allocation.
        nodes: all its nodes, the driver's first.
        empty: ends everything on some nodes, which ``emptied`` is then told of.
        on_released: called with the nodes that have gone, and when (seconds since 1970).
    """

    def __init__(
        self,
        loop: Loop,
        folder: Path,
        job_id: str,
        nodes: Iterable[str],
        empty: Callable[[Sequence[str]], None],
        on_released: Callable[[list[str], float], None],
    ) -> None:
        self._loop = loop
        self._argv = [sys.executable, "-P", "-m", "hpcsearch.allocation.releaser", str(folder), job_id]
        self._held = list(nodes)
        self._empty = empty
        self._on_released = on_released
        self._peer: Peer | None = None
        self._once = True  # until the scheduler says that it takes more changes than one
        self._dead_too = True  # until it says that it needs to be told of no death
        self._dead: set[str] = set()
        self._gathering_since_s: float | None = None
        self._emptying: set[str] = set()
        self._leaving: list[str] = []
        self._useless: set[str] = set()  # nodes that were set aside
        self._bare: list[str] = []  # those of them on which nothing of ours is left
        self._tries = 0
        self._refused = False

    @property
    def possible(self) -> bool:
        """Whether there is any use in looking for nodes to give back."""
        return not self._refused and len(self._held) > 1

    def offer(self, idle: list[str], wait: Callable[[], bool]) -> None:
        """These nodes are not needed any more, now; ``wait`` tells whether more of them later are worth more."""
        if self._leaving or not (idle or self._bare):
            self._gathering_since_s = None
            return
        now_s = time.monotonic()
        if self._gathering_since_s is None:
            self._gathering_since_s = now_s
            self._start()
            self._loop.call_later(GATHER_S, lambda: None)  # so that the driver looks again
        elif now_s - self._gathering_since_s >= GATHER_S and not (self._once and (not idle or wait())):
            self._gathering_since_s = None
            self._leaving, self._bare = [*idle, *self._bare], []
            self._emptying = set(idle)
            self._empty(idle)
            self._ask_when_empty()

    def set_aside(self, node: str) -> None:
        """A node that is being emptied will not be used again: it goes as soon as one can."""
        if node != self._held[0]:
            self._useless.add(node)

    def emptied(self, node: str) -> None:
        """Nothing of ours is left on a node."""
        if node in self._useless and node in self._held and node not in (*self._leaving, *self._bare):
            self._bare.append(node)
        self._emptying.discard(node)
        self._ask_when_empty()

    def lost(self, node: str) -> None:
        """A node went away by itself; some schedulers have to be told, and others know."""
        if node != self._held[0]:
            self._dead.add(node)
            self._useless.add(node)
        self.emptied(node)
        self._forget_dead()

    def _forget_dead(self) -> None:
        if not self._dead_too:
            self._held = [name for name in self._held if name not in self._dead]
            self._bare = [name for name in self._bare if name not in self._dead]

    def close(self) -> None:
        """Ends the process that asks the scheduler."""
        self._refused = True
        if self._peer is not None:
            self._peer.stop(patience_s=1.0)

    def _start(self) -> None:
        if self._peer is None:
            self._peer = Peer(self._loop, self._argv, self._hear, self._ended)

    def _ask_when_empty(self) -> None:
        if self._leaving and not self._emptying:
            self._ask()

    def _ask(self) -> None:
        if self._refused or self._peer is None:
            return
        keep = [node for node in self._held if node not in self._leaving]
        self._tries += 1
        self._peer.send({"keep": keep, "leave": self._leaving})

    def _hear(self, message: dict[str, Any]) -> None:
        if "once" in message:
            self._once, self._dead_too = message["once"], message["dead_too"]
            self._forget_dead()
        else:
            self._answered(message)

    def _answered(self, outcome: dict[str, Any]) -> None:
        leaving = self._leaving
        if outcome["released"]:
            log.info("given back early: %s", ", ".join(leaving))
            self._held = [node for node in self._held if node not in leaving]
            self._leaving, self._tries = [], 0
            shrunk.apply(outcome["environment"])
            self._on_released([node for node in leaving if node not in self._dead], time.time())
        elif outcome["again"] and self._tries < MAX_TRIES:
            self._loop.call_later(RETRY_S, self._ask)
        else:
            self._refuse(outcome["sentence"])

    def _ended(self) -> None:
        if not self._refused:
            self._refuse("the process that asks the scheduler ended")

    def _refuse(self, why: str) -> None:
        self._refused = True
        log.warning("no more nodes are given back early: %s; the search goes on", why)


def prepare(
    loop: Loop,
    plan: Plan,
    nodes: Sequence[str],
    empty: Callable[[Sequence[str]], None],
    on_released: Callable[[list[str], float], None],
) -> Release | None:
    """What gives nodes of this allocation back; None where there is none to give, or the site takes none."""
    job_id = os.environ.get("HPCSEARCH_SCHEDULER_ID")
    if not job_id or len(nodes) == 1:
        return None
    if not plan.release:
        log.info("site %s takes no nodes back early: all %d stay to the end", plan.site, len(nodes))
        return None
    folder = Layout(Path(plan.directory)).allocation(plan.allocation)
    return Release(loop, folder, job_id, nodes, empty, on_released)
