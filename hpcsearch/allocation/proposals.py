"""The driver's side of the search: how many configurations to have ready, asked for in time, and told what came.

The search is a process of its own (``hpcsearch.search.server``), started only when the initial design that submit
recorded runs short: so evaluations begin before anything heavy is imported.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.recording import Outcome
from hpcsearch.evaluation import Configuration

log = logging.getLogger(__name__)

#: Configurations that are ready ahead of the slots, at most.
MAX_AHEAD = 4096
#: A search process that died is started again so often.
MAX_RESTARTS = 3
#: How much of the newest value a smoothed one takes.
_SMOOTHING = 0.3


class Stock:
    """How many proposals to have ahead, so that no slot waits, and the search knows as much as possible when asked.

    What is wanted is what the slots use up while an ask is answered and committed. The rate is what the slots could do,
    but at most twice what they did: it grows from starvation, and falls back at once.
    """

    def __init__(self) -> None:
        self._latency_s = 0.05
        self._rate = 0.0
        self._used = 0
        self._since_s = time.monotonic()

    def used(self, count: int) -> None:
        """So many evaluations were sent to slots."""
        self._used += count

    def answered(self, latency_s: float) -> None:
        """An ask took so long until its configurations could be used."""
        self._latency_s += _SMOOTHING * (latency_s - self._latency_s)

    def wanted(self, slots: int, median_s: float | None) -> int:
        """How many to have ahead for so many slots whose evaluations take ``median_s`` seconds."""
        now_s = time.monotonic()
        if now_s - self._since_s >= 0.05:
            rate = self._used / (now_s - self._since_s)
            self._rate = max(rate, 0.7 * self._rate)
            self._used, self._since_s = 0, now_s
        if median_s is None:
            return 1
        possible = slots / max(median_s, 1e-6)
        rate = min(possible, 2.0 * self._rate + slots / max(self._latency_s, 1e-3))
        return min(MAX_AHEAD, 1 + math.ceil(1.5 * rate * self._latency_s))


class Proposals:
    """The conversation with the search.

    Args:
        loop: the driver's.
        workflow: the workflow's row: problem, search, its arguments, seed.
        blocking: fit in the call, so that a search with one slot and a seed can be repeated exactly.
        on_ready: called with the hyperparameters' names and the sense of the objective, once the problem is loaded.
        on_proposed: called with what was asked for.
        on_restart: called when the search needs to be told everything from the beginning.
        on_failed: called with a sentence when there is no search any more.
    """

    def __init__(
        self,
        loop: Loop,
        workflow: Mapping[str, Any],
        blocking: bool,
        on_ready: Callable[[list[str], bool], None],
        on_proposed: Callable[[list[Configuration]], None],
        on_restart: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._workflow = workflow
        self._blocking = blocking
        self._on_ready = on_ready
        self._on_proposed = on_proposed
        self._on_restart = on_restart
        self._on_failed = on_failed
        self._peer: Peer | None = None
        self._asked: deque[int] = deque()
        self._restarts = 0
        self._up = self._informed = False
        self._closing = False
        self.exhausted = False
        #: Whether it has nothing to propose before it is told more.
        self.waiting = False

    @property
    def started(self) -> bool:
        """Whether there is, or was, a search process."""
        return self._peer is not None or self._closing

    @property
    def outstanding(self) -> int:
        """Configurations that were asked for and have not come."""
        return sum(self._asked)

    @property
    def ready(self) -> bool:
        """Whether the search is up and knows all that came before it: then an ask is answered at once."""
        return self._up and self._informed

    def start(self) -> None:
        """Starts the search process; it is then to be told the past, see ``inform``."""
        workflow = self._workflow
        self._up = self._informed = False
        self._asked.clear()
        self._peer = Peer(
            self._loop,
            [sys.executable, "-P", "-m", "hpcsearch.search.server"],
            self._take,
            self._search_ended,
            # The node's cores belong to the evaluations: linear algebra would take all of them for matrices this small.
            {**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._peer.send(
            {
                "op": "start",
                "problem": workflow["problem"],
                "cwd": workflow["cwd"],
                "search": workflow["search"],
                "arguments": json.loads(workflow["search_arguments"]),
                "seed": workflow["seed"],
                "background": not self._blocking,
            }
        )
        self._on_restart()

    def inform(self, outcomes: Sequence[Outcome], last: bool, pending: Sequence[Configuration]) -> None:
        """Tells a page of what had ended before the search process began, and with the last one what is under way."""
        if self._peer is None:
            return
        if outcomes:
            self._peer.send({"op": "tell", "results": outcomes})
        if last:
            self._informed = True
            self.add(pending)

    def add(self, pending: Sequence[Configuration]) -> None:
        """Tells what is under way without having been asked for. Until the past was told it is part of it."""
        if self._peer is not None and self._informed and pending:
            self._peer.send({"op": "pending", "configurations": list(pending)})

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tells results that are committed. Until the past was told they are part of it."""
        if self._peer is not None and self._informed:
            self.waiting = False
            self._peer.send({"op": "tell", "results": outcomes})

    def progress(self, configuration: Configuration, value: float) -> None:
        """Tells what one that is under way has come to so far."""
        if self._peer is not None and self._informed:
            self._peer.send({"op": "progress", "results": [[configuration, value]]})

    def ask(self, count: int) -> None:
        """Asks for configurations; they come to ``on_proposed``."""
        assert self._peer is not None
        self._asked.append(count)
        self._peer.send({"op": "ask", "n": count})

    def close(self) -> None:
        """Ends the search process."""
        self._closing = True
        if self._peer is not None:
            self._peer.stop(patience_s=1.0)

    def _take(self, message: dict[str, Any]) -> None:
        if message["op"] == "ready":
            self._up = True
            self._on_ready(message["names"], message["minimize"])
        elif message["op"] == "proposed":
            self._asked.popleft()
            self.exhausted = self.exhausted or message["exhausted"]
            self.waiting = not message["configurations"]
            self._on_proposed(message["configurations"])
        elif message["op"] == "failed":
            self._give_up(" ".join(part for part in (message["message"], message["hint"]) if part))

    def _search_ended(self) -> None:
        if self._closing:
            return
        assert self._peer is not None
        status = self._peer.stop(1.0)
        self._peer = None
        if self._restarts >= MAX_RESTARTS:
            self._give_up(f"The search process ended with status {status}, {MAX_RESTARTS + 1} times.")
            return
        self._restarts += 1
        log.warning("the search process ended with status %s; starting it again", status)
        self.start()

    def _give_up(self, reason: str) -> None:
        self._closing = True
        self._asked.clear()
        self._on_failed(reason)
