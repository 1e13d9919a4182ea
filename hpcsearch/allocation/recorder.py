"""The recorder: the one process of an allocation that writes the workflow's database and results.csv.

It commits in groups: while one commit is under way (18 ms and more on a real disk) the next one's rows gather in the
pipe. So a slow file system holds up neither the driver nor the evaluations, and what is committed is told back.
``python -P -m hpcsearch.allocation.recorder``
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import OperationalError

from hpcsearch.allocation import records
from hpcsearch.allocation.loop import GARBAGE_THRESHOLD
from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import Configuration, State
from hpcsearch.worker.channel import Channel, ClosedError, standard_channel
from hpcsearch.workflow import database, lease, queries, store
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.csv_file import ResultsFile

#: How often a waiting recorder looks whether the lease has become free (seconds).
LEASE_POLL_S = 0.5
#: A write that does not succeed is told to the driver after so long (seconds), and tried again without end.
PATIENCE_S = 5.0
#: A commit is followed by a pause of its own length, at most this (seconds): the disk belongs to others too.
MAX_PAUSE_S = 0.25


Answer = TypeVar("Answer")


class Recorder:
    """Serves one driver."""

    def __init__(self, driver: Channel) -> None:
        self._driver = driver
        self._configurations: dict[int, Configuration] = {}  # of evaluations without an end
        self._token = ""

    def serve(self) -> None:
        """Works until the driver says so or has gone; what had arrived by then is still committed."""
        messages = self._driver.wait()
        self._open(messages.pop(0))
        pause_s = 0.0
        try:
            while True:
                if not messages:
                    messages = self._driver.wait()
                commits = [message for message in messages if message["op"] == records.COMMIT]
                if commits:
                    pause_s = self._commit(commits)
                for message in messages:
                    if message["op"] == records.HISTORY:
                        self._tell_history()
                    elif message["op"] == records.LEARNED:
                        self._learn(message["names"], message["minimize"])
                    elif message["op"] == records.CLOSE:
                        self._close(message)
                        return
                messages = self._pause(min(pause_s, MAX_PAUSE_S))
        except ClosedError:
            return

    # ---- talking

    def _say(self, op: str, **values: Any) -> None:
        self._driver.send({"op": op, **values})
        self._driver.deliver()

    def _pause(self, pause_s: float) -> list[Any]:
        """What arrives within a pause; it is cut short by what cannot wait."""
        end_s = time.monotonic() + pause_s
        messages: list[Any] = []
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self._driver.read_fd], [], [], left_s)[0]:
                try:
                    arrived = self._driver.receive()
                except ClosedError:  # what it sent before is still committed; its end is met again at the next wait
                    break
                messages += arrived
                if any(message["op"] != records.COMMIT for message in arrived):
                    break
        return messages

    # ---- opening

    def _open(self, message: dict[str, Any]) -> None:
        self._layout = Layout(Path(message["directory"]))
        self._allocation: int = message["allocation"]
        self._engine = database.writer(self._layout.database)
        self._token = self._insist(self._take_lease)
        self._insist(
            lambda: store.begin_allocation(self._engine, self._token, self._allocation, message["deadline_at"])
        )
        with self._engine.connect() as connection:
            workflow = dict(queries.workflow_row(connection))
            unfinished = queries.unfinished(connection)
            counts = queries.count_states(connection)
            durations = queries.recent_durations(connection)
            period_s = lease.holder(connection).period_s
            finished = queries.finished_with_reports(connection) if message["reports"] else []
            for page in queries.all_reports(connection) if message["reports"] else ():
                self._say(records.REPORTS, rows=page)
        self._configurations = {entry.id: entry.configuration for entry in unfinished}
        self._say(
            records.OPENED,
            workflow=workflow,
            unfinished=[[e.id, e.configuration, e.attempt, e.failures] for e in unfinished],
            ended=sum(counts.values()) - len(unfinished),
            succeeded=counts.get(State.FINISHED, 0),
            durations=durations,
            finished=finished,
            period_s=period_s,
        )
        self._names: list[str] = json.loads(workflow["names"])
        self._started_at: float = workflow["started_at"]
        self._mend_results()

    def _mend_results(self) -> None:
        self._results = ResultsFile(self._layout.results, self._names, self._started_at)
        with self._engine.connect() as connection:
            self._results.mend(connection)

    def _take_lease(self) -> str:
        watch = lease.StillnessWatch()
        told = False
        while True:
            with self._engine.connect() as connection:
                holder = lease.holder(connection)
            free = holder.token is None or holder.allocation == self._allocation
            if free or watch.dead(holder, time.monotonic()) or self._has_ended(holder):
                token = lease.take(self._engine, self._allocation, os.getppid(), holder)
                if token is not None:
                    return token
                continue
            if not told:
                self._say(records.WAITING, allocation=holder.allocation, host=holder.host)
                told = True
            if select.select([self._driver.read_fd], [], [], LEASE_POLL_S)[0]:
                self._driver.receive()  # nothing but the driver's end can come while it waits

    def _has_ended(self, holder: lease.Holder) -> bool:
        """Whether the scheduler says that the holder's allocation has ended."""
        from hpcsearch.allocation.holder import has_ended

        return has_ended(self._layout, self._engine, holder)

    # ---- committing

    def _commit(self, messages: list[dict[str, Any]]) -> float:
        """Commits all that these messages bring, in one transaction, and tells so; seconds that it took."""
        now = time.time()
        batches = [store.Batch()]
        configurations: list[Configuration] = []
        for message in messages:
            rows = message["rows"]
            self._add(batches[-1], rows, now)
            configurations += rows.get("configurations", ())
            if "requeued" in rows:
                batches.append(store.Batch())
        started_s = time.monotonic()
        accepted = self._insist(
            lambda: store.commit(self._engine, self._token, self._allocation, batches, configurations)
        )
        commit_s = time.monotonic() - started_s
        self._configurations.update(accepted)
        self._append_results([row for batch in batches for row in batch.ended])
        self._say(
            records.COMMITTED,
            number=messages[-1]["number"],
            evaluations=accepted,
            full=len(accepted) < len(configurations),
            commit_s=commit_s,
            stop=self._layout.stopped(self._allocation).exists(),
        )
        return commit_s

    def _add(self, batch: store.Batch, rows: dict[str, list[Any]], now: float) -> None:
        """Adds a message's rows to a batch."""
        own = {"allocation": self._allocation}
        running = {"state": State.RUNNING.value, **own}
        batch.started += records.named(records.STARTED_COLUMNS, rows.get("started", ()), **running)
        ended = records.named(records.ENDED_COLUMNS, rows.get("ended", ()), **own)
        for row in ended:
            row["gathered_at"] = now if row["final"] else None
        batch.ended += ended
        batch.requeued += records.named(records.REQUEUED_COLUMNS, rows.get("requeued", ()))
        batch.reports += records.named(records.REPORT_COLUMNS, rows.get("reports", ()))
        batch.nodes += rows.get("nodes", ())

    def _insist(self, write: Callable[[], Answer]) -> Answer:
        """Writes, however long the database is locked or its disk full."""
        since_s = time.monotonic()
        while True:
            try:
                return write()
            except OperationalError as error:
                waited_s = time.monotonic() - since_s
                if waited_s >= PATIENCE_S:
                    self._say(records.BUSY, reason=str(error.orig), for_s=waited_s)
                time.sleep(min(PATIENCE_S, 0.05 + waited_s / 10))

    def _append_results(self, ended: list[dict[str, Any]]) -> None:
        final = [row for row in ended if row["gathered_at"] is not None]
        try:
            self._results.append(
                (self._configurations.pop(row["evaluation"]), {"id": row["evaluation"], **row}) for row in final
            )
        except OSError as error:  # the database has them: the next driver brings the file up to it
            self._say(records.BUSY, reason=f"results.csv cannot be written: {error.strerror}", for_s=0.0)

    # ---- the rest

    def _learn(self, names: list[str], minimize: bool) -> None:
        if names != self._names:
            store.describe_problem(self._engine, self._token, names, minimize)
            self._names = names
            self._mend_results()

    def _tell_history(self) -> None:
        with self._engine.connect() as connection:
            for page in queries.outcomes(connection):
                self._say(records.OUTCOMES, results=page, last=False)
        self._say(records.OUTCOMES, results=[], last=True)

    def _write_arrays(self) -> None:
        """results.h5 follows at the end; the search is none the worse when it cannot."""
        from hpcsearch.workflow.results.h5_file import write_results_h5  # takes longer to import than all the rest

        try:
            write_results_h5(self._layout)
        except (OSError, HpcsearchError) as error:
            self._say(records.BUSY, reason=f"results.h5 cannot be written: {error}", for_s=0.0)

    def _close(self, message: dict[str, Any]) -> None:
        outcome, finished = message["outcome"], message["finished"]
        self._insist(lambda: store.end_allocation(self._engine, self._token, self._allocation, outcome, finished))
        self._write_arrays()  # last, for it may take seconds, and the walltime may end
        self._insist(lambda: lease.release(self._engine, self._token))
        self._say(records.CLOSED)


def main() -> None:
    """The recorder's process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the driver hears them, and closes the conversation in its time
    recorder = Recorder(standard_channel())
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        recorder.serve()
    except ClosedError:
        return
    except HpcsearchError as error:
        recorder._say(records.FAILED, kind=type(error).__name__, message=error.message, hint=error.hint)


if __name__ == "__main__":
    main()
