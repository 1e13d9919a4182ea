"""Watching a workflow of 50,000 evaluations: what ``status`` and ``monitor`` cost the login node.

The workflow is written through ``workflow.store``, as a driver writes it, and another process goes on committing
results to it while the terminal view is open. CPU seconds are those of the commands' own processes.

    python benchmarks/watching.py [--evaluations 50000] [--seconds 30] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common import table
from sqlalchemy import Engine

from hpcsearch.evaluation import State
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import database, lease, store
from hpcsearch.workflow.layout import Layout, new_directory

NODES, SLOTS = 64, 8
#: Shares of evaluations that end so.
ENDS = ((State.FINISHED, 0.95), (State.FAILED, 0.03), (State.TIMED_OUT, 0.02))
ERRORS = {
    State.FAILED: ("ValueError", "the loss became nan after epoch {}", 'File "model.py", line 20, in train'),
    State.TIMED_OUT: ("Timeout", "it ran longer than its time limit of 600 s", ""),
}
BATCH = 1000


class Writer:
    """Writes evaluations as a driver does: proposes, begins and ends them."""

    def __init__(self, layout: Layout, begun_at: float) -> None:
        self._engine = database.writer(layout.database)
        with self._engine.connect() as connection:
            free = lease.holder(connection)
        token = lease.take(self._engine, 1, os.getpid(), free)
        assert token is not None
        self._token = token
        self._random = random.Random(1)
        self._at = begun_at
        self._running: list[int] = []

    def configuration(self) -> dict[str, Any]:
        draw = self._random
        return {
            "activation": draw.choice(["relu", "tanh", "gelu"]),
            "dropout": draw.random(),
            "layers": draw.randint(1, 12),
            "lr": 10 ** draw.uniform(-5, -1),
            "momentum": draw.random(),
            "units": draw.randint(8, 1024),
        }

    def propose(self, count: int) -> list[int]:
        proposed = [self.configuration() for _ in range(count)]
        return [identity for identity, _ in store.commit(self._engine, self._token, 1, [], proposed)]

    def begin(self, ids: list[int], at: float) -> None:
        rows = [{**self._where(identity), "state": "RUNNING", "started_at": at} for identity in ids]
        store.commit(self._engine, self._token, 1, [store.Batch(started=rows)])

    def finish(self, ids: list[int], at: float, step_s: float = 0.0, *, begun: bool = False) -> None:
        """Their ends, one every ``step_s`` seconds from ``at`` on."""
        ended = [self._end(identity, at + number * step_s) for number, identity in enumerate(ids)]
        started = [] if begun else [{**row, "state": "RUNNING"} for row in ended]
        reports = [self._report(row) for row in ended if row["evaluation"] % 5 == 0]
        store.commit(self._engine, self._token, 1, [store.Batch(started=started, ended=ended, reports=reports)])

    def nodes(self, names: list[str], at: float) -> None:
        facts = {"slots": SLOTS, "cores": 32, "gpus": 0, "memory_mb": 262144, "held_from_at": at}
        rows = [{"name": name, "state": "UP", **facts} for name in names]
        store.commit(self._engine, self._token, 1, [store.Batch(nodes=rows)])

    def begin_allocation(self, deadline_at: float) -> None:
        store.begin_allocation(self._engine, self._token, 1, deadline_at)

    def _where(self, identity: int) -> dict[str, Any]:
        place = identity % (NODES * SLOTS)
        node = f"nid{place // SLOTS:05d}"
        return {
            "evaluation": identity,
            "attempt": 1,
            "allocation": 1,
            "node": node,
            "nodes": node,
            "slot": place % SLOTS,
            "slots": 1,
        }

    def _end(self, identity: int, at: float) -> dict[str, Any]:
        draw = self._random
        (state,) = draw.choices([state for state, _ in ENDS], [share for _, share in ENDS])
        kind, message, traceback = ERRORS.get(state, (None, None, None))
        duration_s = draw.lognormvariate(4.5, 0.4)
        return {
            **self._where(identity),
            "state": state.value,
            "failures": 0,
            "started_at": at - duration_s,
            "ended_at": at,
            "duration_s": duration_s,
            "objective": draw.gauss(0.0, 1.0) + identity * 1e-5 if state is State.FINISHED else None,
            "metadata": json.dumps({"val_accuracy": draw.random()}),
            "error_kind": kind,
            "error_message": message and message.format(draw.randint(1, 90)),
            "traceback": traceback,
            "gathered_at": at,
        }

    def _report(self, row: dict[str, Any]) -> dict[str, Any]:
        metrics = json.dumps({"val_loss": self._random.random()})
        return {"evaluation": row["evaluation"], "attempt": 1, "step": 3.0, "at": row["ended_at"], "metrics": metrics}


def make(layout: Layout, evaluations: int) -> Writer:
    """A workflow of which ``evaluations`` have ended; this process is what works on it."""
    now = time.time()
    began_at, deadline_at = now - 3 * 3600, now + 3 * 3600
    with new_directory(layout) as draft:
        engine = database.writer(draft.database, create=True)
        _fill(engine, draft, 2 * evaluations)
        engine.dispose()
        draft.allocation(1).mkdir(parents=True)
        (draft.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
    writer = Writer(layout, began_at)
    writer.begin_allocation(deadline_at)
    writer.nodes([f"nid{number:05d}" for number in range(NODES)], began_at)
    step_s = (now - began_at) / max(1, evaluations)
    for first in range(0, evaluations, BATCH):
        ids = writer.propose(min(BATCH, evaluations - first))
        writer.finish(ids, began_at + first * step_s, step_s)
    writer.begin(writer.propose(NODES * SLOTS), now)
    return writer


def _fill(engine: Engine, draft: Layout, max_evals: int) -> None:
    row = {
        "name": "large",
        "problem": "problem.py:Problem",
        "run": "model_run.py:run",
        "cwd": str(draft.root.parent),
        "names": json.dumps(["activation", "dropout", "layers", "lr", "momentum", "units"]),
        "minimize": 0,
        "search": "ambs",
        "search_arguments": "{}",
        "max_evals": max_evals,
        "settings": "{}",
    }
    store.create(engine, row, 5.0, [])
    allocation = {
        "number": 1,
        "site": "local",
        "scheduler": "local",
        "scheduler_id": str(ProcessId.of(os.getpid())),
        "queue": "local",
        "account": "none",
        "nodes": NODES,
        "walltime_s": 6 * 3600.0,
        "job_mode": "serial",
    }
    store.add_allocation(engine, allocation)


def timed(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hpcsearch.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(layout: Layout, rounds: int) -> None:
    lines = []
    for arguments in (("status",), ("status", "--format", "json"), ("why",), ("monitor", "--once")):
        name, *options = arguments
        measured = [timed(name, str(layout.root), *options) for _ in range(rounds)]
        walls, cpus = zip(*measured, strict=True)
        lines.append([" ".join(arguments), statistics.median(walls), max(walls), statistics.median(cpus)])
    table("Commands (seconds)", ["command", "wall, median", "most", "CPU"], lines)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Terminal:
    """A monitor on a terminal whose output is read and counted."""

    def __init__(self, layout: Layout, columns: int, lines: int) -> None:
        self.bytes = 0
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(lines))
            os.execv(sys.executable, [sys.executable, "-m", "hpcsearch.cli", "monitor", str(layout.root)])

    def read_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                self.bytes += len(os.read(self._fd, 65536))

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def monitor(layout: Layout, writer: Writer, seconds: float, per_s: int) -> None:
    """The view's share of a core and what it sends, while ``per_s`` evaluations end each second."""
    lines = []
    for columns, height in ((80, 24), (200, 50)):
        terminal = Terminal(layout, columns, height)
        terminal.read_for(8.0)
        first_s, shown = cpu_s(terminal.pid), terminal.bytes
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            ids = writer.propose(per_s)
            writer.begin(ids, time.time() - 1)
            writer.finish(ids, time.time(), begun=True)
            terminal.read_for(1.0)
        wall_s = time.perf_counter() - start
        share = (cpu_s(terminal.pid) - first_s) / wall_s
        lines.append([f"{columns} x {height}", first_s, share, (terminal.bytes - shown) / wall_s])
        terminal.close()
    header = ["terminal", "CPU s until shown", "share of a core", "bytes/s"]
    table(f"monitor, {per_s} evaluations a second end meanwhile", header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the workflow there, and leave it")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcsearch-benchmark-")))
        layout = Layout(folder / "large")
        writer = make(layout, chosen.evaluations)
        print(f"{chosen.evaluations:,} evaluations, {layout.database.stat().st_size / 2**20:.0f} MiB")
        commands(layout, chosen.rounds)
        monitor(layout, writer, chosen.seconds, per_s=20)


if __name__ == "__main__":
    main()
