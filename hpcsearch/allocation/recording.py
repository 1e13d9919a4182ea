"""The driver's side of the recorder: gathers rows, sends them in groups, and learns what is committed."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hpcsearch.allocation import records
from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Plan
from hpcsearch.evaluation import Configuration, Evaluation, State
from hpcsearch.objectives import Told, told
from hpcsearch.search.stopping import NONE

log = logging.getLogger(__name__)

#: A configuration, what it came to, and whether that is of a part alone: it was stopped early.
Outcome = tuple[Configuration, Told, bool]

#: The holder of the lease shows that it lives at least this often within the lease's period.
BEATS_PER_PERIOD = 3


#: The kind of failure of a recorder that ended without a word.
RECORDER_DIED = "RecorderDied"


class RecordingListener(Protocol):
    """What the driver takes from the recorder."""

    def past_reports(self, reports: list[tuple[int, float | None, Mapping[str, Any]]]) -> None:
        """A page of what evaluations reported to earlier drivers, where that was asked for; before ``opened``."""

    def opened(self, message: Mapping[str, Any]) -> None:
        """The lease is held: the workflow's row, and what is to be run."""

    def history(self, outcomes: list[Outcome], last: bool) -> None:
        """A page of what ended before this driver."""

    def proposed(self, evaluations: list[Evaluation], full: bool) -> None:
        """These are PROPOSED now; ``full`` tells that the budget had no room for all."""

    def committed(self, outcomes: list[Outcome]) -> None:
        """These results are in the database."""

    def stopped(self) -> None:
        """Somebody wants nothing more to be started; told again and again."""

    def recorder_failed(self, kind: str, message: str) -> None:
        """Nothing can be recorded any more."""


class Recording:
    """What is to be written, in the order in which it happened."""

    def __init__(self, loop: Loop, plan: Plan, deadline_at: float, listener: RecordingListener) -> None:
        self._loop = loop
        self._listener = listener
        self._rows: dict[str, list[Any]] = {}
        self._outcomes: list[Outcome] = []
        self._uncommitted: dict[int, list[Outcome]] = {}
        self._number = 0
        self._period_s = 0.0
        self._closed = False
        self.commit_s = 0.02  # seconds that a commit takes, smoothed
        self._peer = Peer(
            loop, [sys.executable, "-P", "-m", "hpcsearch.allocation.recorder"], self._take, self._recorder_ended
        )
        self._peer.send(
            {
                "op": records.OPEN,
                "directory": plan.directory,
                "allocation": plan.allocation,
                "deadline_at": deadline_at,
                "reports": plan.stopper != NONE,
            }
        )

    @property
    def settled(self) -> bool:
        """Whether everything that happened is committed."""
        return not self._uncommitted and not self._rows

    @property
    def unsettled(self) -> list[Configuration]:
        """The configurations whose end is not committed yet."""
        groups = [*self._uncommitted.values(), self._outcomes]
        return [configuration for outcomes in groups for configuration, *_ in outcomes]

    # ---- what happened

    def started(self, evaluation: Evaluation, placement: Placement, at: float) -> None:
        self._add("started", [evaluation.id, evaluation.attempt, *_place(placement), at])

    def ended(self, evaluation: Evaluation, placement: Placement, end: Ended, final: bool) -> None:
        """An attempt ended; ``final`` when no other will follow."""
        failure = end.failure or {}
        self._add(
            "ended",
            [
                evaluation.id,
                evaluation.attempt,
                *_place(placement),
                end.state.value,
                evaluation.failures,
                end.started_at,
                end.ended_at,
                end.duration_s,
                end.objective,
                None if end.metadata is None else json.dumps(end.metadata),
                failure.get("kind"),
                failure.get("message"),
                failure.get("traceback"),
                final,
            ],
        )
        if final:
            value = told(end.objective, end.metadata)
            self._outcomes.append((evaluation.configuration, value, end.state is State.STOPPED))

    def requeued(self, evaluation: Evaluation) -> None:
        self._add("requeued", [evaluation.id, evaluation.attempt, time.time()])

    def reported(self, evaluation: Evaluation, step: float | None, at: float, metrics: Mapping[str, Any]) -> None:
        self._add("reports", [evaluation.id, evaluation.attempt, step, at, json.dumps(metrics)])

    def node(self, name: str, **facts: Any) -> None:
        """What is known of a node, by the columns of the table of nodes."""
        self._add("nodes", {"name": name, **facts})

    def propose(self, configurations: list[Configuration]) -> None:
        """New configurations, to be counted against the budget; see ``RecordingListener.proposed``."""
        self._rows.setdefault("configurations", []).extend(configurations)

    def learned(self, names: list[str], minimize: bool) -> None:
        """What the problem says; news only where submit was told not to import it."""
        self._peer.send({"op": records.LEARNED, "names": names, "minimize": minimize})

    def ask_history(self) -> None:
        """Asks for all that ended before; see ``RecordingListener.history``."""
        self._peer.send({"op": records.HISTORY})

    def flush(self) -> None:
        """Sends what has gathered."""
        if self._rows:
            self._commit()

    def close(self, outcome: str, finished: bool) -> None:
        """The search ends here: the last thing that is recorded. ``closed`` turns true when it is."""
        self.flush()
        self._peer.send({"op": records.CLOSE, "outcome": outcome, "finished": finished})

    @property
    def closed(self) -> bool:
        return self._closed

    def stop(self) -> None:
        """Ends the recorder; what it has received it still commits."""
        self._closed = True
        self._peer.stop(patience_s=30.0)

    def _add(self, kind: str, row: Any) -> None:
        self._rows.setdefault(kind, []).append(row)

    def _commit(self) -> None:
        self._number += 1
        self._uncommitted[self._number] = self._outcomes
        self._peer.send({"op": records.COMMIT, "number": self._number, "rows": self._rows})
        self._rows, self._outcomes = {}, []

    # ---- what the recorder says

    def _take(self, message: dict[str, Any]) -> None:
        _MESSAGES[message["op"]](self, message)

    def _reports(self, message: dict[str, Any]) -> None:
        self._listener.past_reports([(e, step, metrics) for e, step, metrics in message["rows"]])

    def _opened(self, message: dict[str, Any]) -> None:
        self._period_s = message["period_s"]
        self._loop.call_later(self._period_s / BEATS_PER_PERIOD, self._beat)
        self._listener.opened(message)

    def _beat(self) -> None:
        if not self._closed:
            self._commit()
            self._loop.call_later(self._period_s / BEATS_PER_PERIOD, self._beat)

    def _history(self, message: dict[str, Any]) -> None:
        self._listener.history([(c, value, stopped) for c, value, stopped in message["results"]], message["last"])

    def _committed(self, message: dict[str, Any]) -> None:
        self.commit_s += 0.2 * (message["commit_s"] - self.commit_s)
        outcomes: list[Outcome] = []
        for number in [number for number in self._uncommitted if number <= message["number"]]:
            outcomes += self._uncommitted.pop(number)
        evaluations = [Evaluation(identity, configuration) for identity, configuration in message["evaluations"]]
        if evaluations or message["full"]:
            self._listener.proposed(evaluations, message["full"])
        if outcomes:
            self._listener.committed(outcomes)
        if message["stop"]:
            self._listener.stopped()

    def _busy(self, message: dict[str, Any]) -> None:
        log.warning(
            "the workflow's database does not take what is recorded (%s, for %.0f s now); evaluations go on, "
            "and it is tried again",
            message["reason"],
            message["for_s"],
        )

    def _waiting(self, message: dict[str, Any]) -> None:
        log.info(
            "allocation %s works on this workflow (on %s); waiting until it has ended",
            message["allocation"],
            message["host"],
        )

    def _is_closed(self, _message: dict[str, Any]) -> None:
        self._closed = True

    def _failed(self, message: dict[str, Any]) -> None:
        self._closed = True
        self._listener.recorder_failed(message["kind"], message["message"])

    def _recorder_ended(self) -> None:
        if not self._closed:
            self._closed = True
            status = self._peer.stop(1.0)
            self._listener.recorder_failed(RECORDER_DIED, f"the recorder ended with status {status}")


def _place(placement: Placement) -> tuple[str, int, str | None, int]:
    """Its first node and slot, all its nodes where it has more than a slot, and how many slots."""
    nodes = ",".join(placement.nodes) if placement.others else None
    return placement.node, placement.slot, nodes, 1 + len(placement.others)


_MESSAGES: Mapping[str, Callable[[Recording, dict[str, Any]], None]] = {
    records.WAITING: Recording._waiting,
    records.REPORTS: Recording._reports,
    records.OPENED: Recording._opened,
    records.OUTCOMES: Recording._history,
    records.COMMITTED: Recording._committed,
    records.BUSY: Recording._busy,
    records.CLOSED: Recording._is_closed,
    records.FAILED: Recording._failed,
}
