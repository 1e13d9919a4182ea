"""What each evaluation needs, where the run function says so: the user's code is asked in a process of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.evaluation import Evaluation, Failure, Resources

log = logging.getLogger(__name__)

#: A process that died is started again so often in a row; then what it was asked about first has failed.
MAX_RESTARTS = 2


class Sizing:
    """Asks what evaluations need, in the order in which they come.

    Args:
        loop: the driver's.
        plan: what the allocation was asked to do.
        on_sized: called with each evaluation once its resources are known.
        on_failed: called with each that they cannot be told of, and why.
    """

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        on_sized: Callable[[Evaluation], None],
        on_failed: Callable[[Evaluation, Failure], None],
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._on_sized = on_sized
        self._on_failed = on_failed
        self._asked: dict[int, Evaluation] = {}  # in their order
        self._peer: Peer | None = None
        self._restarts = 0
        self._closing = False

    def __len__(self) -> int:
        """How many are being asked about."""
        return len(self._asked)

    @property
    def evaluations(self) -> Sequence[Evaluation]:
        return list(self._asked.values())

    def ask(self, evaluations: Sequence[Evaluation]) -> None:
        """Asks what these need."""
        self._asked |= {evaluation.id: evaluation for evaluation in evaluations}
        if self._peer is None and self._asked:
            self._start()
        elif self._peer is not None:
            self._send(self._peer, evaluations)

    def close(self) -> None:
        """Ends the process."""
        self._closing = True
        if self._peer is not None:
            self._peer.stop(patience_s=1.0)

    def _start(self) -> None:
        plan = self._plan
        self._peer = Peer(
            self._loop, [sys.executable, "-P", "-m", "hpcsearch.worker.sizer"], self._answered, self._ended
        )
        default = plan.resources
        self._peer.send(
            {
                "run": plan.run,
                "names": list(plan.names),
                "cwd": plan.cwd,
                "resources": [default.nodes, default.ranks_per_node, default.cores, default.gpus],
                "job_mode": plan.job_mode,
            }
        )
        self._send(self._peer, self.evaluations)

    def _send(self, peer: Peer, evaluations: Sequence[Evaluation]) -> None:
        for evaluation in evaluations:
            peer.send([evaluation.id, evaluation.configuration])

    def _answered(self, message: Mapping[str, Any]) -> None:
        self._restarts = 0
        evaluation = self._asked.pop(message["id"])
        if "failure" in message:
            self._on_failed(evaluation, Failure(**message["failure"]))
        else:
            evaluation.resources = Resources(*message["resources"])
            evaluation.program = message["program"]
            self._on_sized(evaluation)

    def _ended(self) -> None:
        if self._closing or self._peer is None:
            return
        status = self._peer.stop(1.0)
        self._peer = None
        self._restarts += 1
        log.warning("the process that asks the run function for resources ended with status %s", status)
        if self._restarts > MAX_RESTARTS and self._asked:
            self._restarts = 0
            evaluation = self._asked.pop(next(iter(self._asked)))
            message = (
                f"the process that asked the run function what this configuration needs ended with status {status}"
            )
            self._on_failed(evaluation, Failure("NoResources", message))
        if self._asked:
            self._start()
