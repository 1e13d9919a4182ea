"""What scenarios stand on: a machine to search on (a bed), the searches there, and their processes.

Everything is done through the front door: commands as processes of their own, signals, the workflow's directory and
database. What differs between machines is in the bed alone.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import select

import hpcsearch
from hpcsearch.evaluation import END_STATES, TRANSITIONS, State
from hpcsearch.workflow import schema
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.workflow import Record

#: Within this time (seconds) whatever a scenario waits for must have happened, on a loaded machine too.
LIMIT_S = 60.0
#: Between two looks at what is waited for.
LOOK_S = 0.02
#: Processes that are ending may take so long to be gone (seconds).
LEAVING_S = 10.0

PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((0.0, 10.0), "x")
Problem.add_hyperparameter((1, 1000), "n")
"""


def failing_problem(kinds: Collection[str], good: int) -> str:
    """A problem of evaluations that each fail in another way, ``what``, and then of so many that do not."""
    return f"""\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter({["good", *kinds]!r}, "what")
Problem.add_hyperparameter(list(range({good})), "turn")
for what in {list(kinds)!r}:
    Problem.add_starting_point(what=what, turn=0)
for turn in range({good}):
    Problem.add_starting_point(what="good", turn=turn)
"""


def until(condition: Callable[[], Any], what: str = "", limit_s: float = LIMIT_S) -> Any:
    """Waits until ``condition`` gives something true, and returns it; fails after ``limit_s`` seconds."""
    end_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end_s, f"it did not happen within {limit_s:g} s: {what or condition}"
        time.sleep(LOOK_S)
    return found


# ---- processes


@dataclass(frozen=True)
class Process:
    """A process of this kernel; ``start`` (clock ticks since boot) tells it from a later one with the same id."""

    pid: int
    start: int
    node: str = ""

    @property
    def alive(self) -> bool:
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in "ZX" and int(fields[19]) == self.start

    @property
    def stopped(self) -> bool:
        fields = _stat(self.pid)
        return fields is not None and fields[0] == "T"

    @property
    def parent(self) -> int:
        fields = _stat(self.pid)
        return 0 if fields is None else int(fields[1])

    def send(self, number: int) -> None:
        """Sends a signal; nothing happens when the process has ended."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def argv(self) -> list[str]:
        return _words(self.pid, "cmdline")

    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in _words(self.pid, "environ") if "=" in word)

    def name(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except OSError:
            return ""


#: Stands for a process that has ended and cannot be found any more.
GONE = Process(-1, -1)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _words(pid: int, file: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def all_processes() -> Iterator[Process]:
    """The living processes of this kernel."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields is not None and fields[0] not in "ZX":
                yield Process(int(entry), int(fields[19]))


def processes_of(folder: Path) -> list[Process]:
    """The processes that a folder is named to, in their command line or their environment; not this one."""
    name = os.fspath(folder)
    return [
        process
        for process in all_processes()
        if process.pid != os.getpid()
        and any(name in word for file in ("cmdline", "environ") for word in _words(process.pid, file))
    ]


def end_processes_of(folder: Path) -> list[str]:
    """Kills what is named to a folder and does not end by itself soon; the command lines of those."""
    end_s = time.monotonic() + LEAVING_S
    while processes_of(folder) and time.monotonic() < end_s:
        time.sleep(LOOK_S)
    left: dict[Process, str] = {}
    while found := processes_of(folder):
        for process in found:
            left.setdefault(process, f"{process.pid} {process.name()}: {' '.join(process.argv())}")
            process.kill()
        time.sleep(LOOK_S)
    return list(left.values())


#: A role -> the module that its processes run, and what their names begin with (several run one module).
ROLES: Mapping[str, tuple[str, str]] = {
    "driver": ("hpcsearch.allocation", ""),
    "recorder": ("hpcsearch.allocation.recorder", ""),
    "search": ("hpcsearch.search.server", ""),
    "agent": ("hpcsearch.worker.agent", "hpcsearch-agent"),
    "slot": ("hpcsearch.worker.agent", "hpcsearch-slot"),
    "desk": ("hpcsearch.allocation.desk", ""),
    "rank": ("hpcsearch.worker.rank", ""),
}


# ---- machines


class Bed(ABC):
    """A machine to search on. ``folder`` is the scenario's own: everything is written there.

    ``nodes`` are what a search gets unless it says otherwise; ``cores`` is what each node has to give.
    """

    name: str
    queue: str
    account: str
    nodes: int
    cores: int
    #: A walltime that is short, but enough for an allocation to start and end in good order (seconds).
    short_walltime_s: int
    #: How much longer evaluations take than on one machine, so that a search lasts while all nodes come up.
    pace: float = 1.0
    #: What a command is run by, where not by the user of the tests.
    prefix: tuple[str, ...] = ()
    #: The job mode of its searches.
    job_mode: str = "serial"
    #: Fixtures whose values the constructor takes behind the folder.
    needs: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "workflows"
        self.python = Path(sys.executable)

    # ---- what differs

    @abstractmethod
    def script(self, search: Search, allocation: int) -> Process:
        """The process of an allocation's job script."""

    @abstractmethod
    def node_of(self, process: Process) -> str:
        """The node that a process runs on."""

    def end_allocations(self) -> list[str]:
        """Called after each scenario: ends what its machine still runs for it, and tells what that was."""
        return []

    def close(self) -> None:  # noqa: B027 - most need nothing
        """Called last: clears away what is outside the folder of the scenario."""

    # ---- what does not

    def environment(self) -> dict[str, str]:
        """What commands are run in. The folder's name in it is inherited by all that they start."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HPCSEARCH_")}
        return {
            **kept,
            "HPCSEARCH_ROOT": os.fspath(self.root),
            "XDG_CACHE_HOME": os.fspath(self.folder / "cache"),
            "XDG_CONFIG_HOME": os.fspath(self.folder / "config"),
        }

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Runs ``hpcsearch`` to its end, whatever that is."""
        return subprocess.run(
            [*self.prefix, self.hpcsearch(), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S + 30,
            check=False,
        )

    def hpcsearch(self) -> str:
        """The command, as this bed's user finds it."""
        command = self.python.with_name("hpcsearch")
        found = os.fspath(command) if command.exists() else shutil.which("hpcsearch")
        assert found is not None, f"the command hpcsearch is not installed beside {self.python}"
        return found

    def options(self, slots: int) -> list[object]:
        """Those of a submission here, with so many evaluations at once on a node."""
        where = ["--site", self.name, "-q", self.queue, "-A", self.account]
        return [*where, "-n", self.nodes, "-j", self.job_mode, "--evals-per-node", slots]

    def submit(
        self,
        run: str,
        *options: object,
        problem: str = PROBLEM,
        name: str = "poly",
        slots: int = 2,
        walltime: object = 30,
        wait: bool = True,
        status: int = 0,
    ) -> Search:
        """Submits a search whose files have these texts; with ``wait`` stays until its allocation has ended.

        ``status`` is the exit code to expect. In the text of ``run``, PACE is the bed's.
        """
        (self.folder / f"problem_{name}.py").write_text(problem)
        (self.folder / f"run_{name}.py").write_text(f"PACE = {self.pace}\n{run}")
        files = ["-p", f"problem_{name}.py", "-r", f"run_{name}.py"]
        arguments = [*files, *self.options(slots), "-t", walltime, *options, *(["--wait"] if wait else [])]
        done = self.command("submit", "hps", name, *arguments)
        assert done.returncode == status, said(done)
        return Search(self, Layout(self.root / name), said(done))

    def is_ours(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment, which an allocation has started, belongs to this bed."""
        return environment.get("HPCSEARCH_ROOT") == os.fspath(self.root)

    def processes(self, search: Search, role: str, allocation: int | None = None) -> list[Process]:
        """The living processes of a role, in all of a search's allocations or in one."""
        module, name = ROLES[role]
        ids = search.scheduler_ids()
        wanted = set(ids.values()) if allocation is None else {ids[allocation]}
        found = []
        for process in all_processes():
            argv = process.argv()
            if argv[1:2] != ["-P"] or argv[2:4] != ["-m", module] or not process.name().startswith(name):
                continue
            environment = process.environment()
            if self.is_ours(environment) and environment.get("HPCSEARCH_SCHEDULER_ID") in wanted:
                found.append(Process(process.pid, process.start, self.node_of(process)))
        return found


class ClusterBed(Bed):
    """A machine with a batch system: jobs wait there for each other's nodes, and nodes die."""

    #: Its nodes are called so, with a number from 1.
    node_prefix: str
    #: What a search is told that names a queue which is not there.
    no_such_queue: str

    def node(self, number: int) -> str:
        return f"{self.node_prefix}{number}"

    @abstractmethod
    def job(self, identity: str) -> tuple[str, list[str]]:
        """Whether a job "waits", "runs" or has "ended", and the nodes that it has."""

    @abstractmethod
    def others_job(self, command: str, nodes: int) -> AbstractContextManager[str]:
        """Another user's job, a shell command on so many whole nodes: gives its id, and ends it in the end."""

    @abstractmethod
    def crashed(self, number: int) -> AbstractContextManager[None]:
        """A node dies, and is brought back at the end."""


class LocalBed(Bed):
    """This machine, without a batch system."""

    name = "local"
    queue = "local"
    account = "none"
    nodes = 1
    short_walltime_s = 22

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cores = len(os.sched_getaffinity(0))

    def script(self, search: Search, allocation: int) -> Process:
        pid, start, _ = search.scheduler_ids()[allocation].split(".", 2)
        return Process(int(pid), int(start), socket.gethostname())

    def node_of(self, process: Process) -> str:
        return socket.gethostname()


class MpiBed(LocalBed):
    """The same in job mode mpi: each evaluation is a launch."""

    job_mode = "mpi"


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command has printed, with its exit code."""
    return f"{done.stdout}{done.stderr}[exit code {done.returncode}]"


# ---- searches


@dataclass
class Search:
    """A search on a bed, read through its database and files; ``output`` is what the submission printed."""

    bed: Bed
    layout: Layout
    output: str
    _ids: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.layout.name

    # ---- commands

    def resume(self, *options: object, wait: bool = True, status: int = 0) -> str:
        """Starts another allocation; gives what was printed."""
        done = self.bed.command("resume", self.name, *options, *(["--wait"] if wait else []))
        assert done.returncode == status, said(done) + self.log()
        return said(done)

    def status(self) -> str:
        done = self.bed.command("status", self.name)
        assert done.returncode == 0, said(done)
        return done.stdout

    def cancel(self) -> str:
        done = self.bed.command("cancel", self.name)
        assert done.returncode == 0, said(done)
        return done.stdout

    # ---- the directory

    def log(self) -> str:
        return self.layout.log.read_text() if self.layout.log.exists() else ""

    def printed(self, evaluation: int) -> bytes:
        """What an evaluation has printed."""
        file = self.layout.evaluation(evaluation) / "log"
        return file.read_bytes() if file.exists() else b""

    def exit_status(self, allocation: int = 1) -> int | None:
        """The exit code of an allocation's driver, when its job script has written it."""
        file = self.layout.allocation(allocation) / "exit_status"
        text = file.read_text() if file.exists() else ""
        return int(text) if text.endswith("\n") else None

    def lines(self) -> list[dict[str, str]]:
        """The lines of results.csv."""
        with self.layout.results.open(newline="") as file:
            return list(csv.DictReader(file))

    # ---- the database

    def rows(self, table: str, order: str = "id") -> list[dict[str, Any]]:
        """All rows of a table."""
        columns = schema.metadata.tables[table]
        with reading(self.layout.database) as connection:
            return [dict(row) for row in connection.execute(select(columns).order_by(columns.c[order])).mappings()]

    def records(self) -> list[Record]:
        return hpcsearch.open_workflow(self.layout.root).records()

    def counts(self) -> dict[State, int]:
        return hpcsearch.open_workflow(self.layout.root).counts()

    def ended(self) -> int:
        """How many evaluations have come to an end."""
        return sum(row["gathered_at"] is not None for row in self.rows("evaluation"))

    def recorded(self) -> dict[int, dict[str, Any]]:
        """The rows of evaluations that have come to an end, by id: they never change."""
        return {row["id"]: row for row in self.rows("evaluation") if row["gathered_at"] is not None}

    def scheduler_ids(self) -> dict[int, str]:
        """The scheduler's ids of the allocations, by number; they never change."""
        if not self._ids or len(list(self.layout.allocation(1).parent.iterdir())) > len(self._ids):
            rows = self.rows("allocation", "number")
            self._ids = {row["number"]: row["scheduler_id"] for row in rows if row["scheduler_id"]}
        return self._ids

    # ---- processes

    def processes(self, role: str, allocation: int | None = None) -> list[Process]:
        return self.bed.processes(self, role, allocation)

    def process(self, role: str, allocation: int | None = None) -> Process:
        """The first living process of a role, waited for."""
        found: list[Process] = until(lambda: self.processes(role, allocation), f"a {role} runs")
        return found[0]

    def script(self, allocation: int = 1) -> Process:
        return self.bed.script(self, allocation)

    # ---- waiting

    def await_ended(self, count: int) -> None:
        """Waits until so many evaluations have come to an end."""
        until(lambda: self.ended() >= count, f"{count} evaluations of {self.name} have ended:\n{self.log()}")

    def await_running(self, count: int = 1) -> None:
        """Waits until so many evaluations are recorded as running."""
        until(lambda: self.counts().get(State.RUNNING, 0) >= count, f"{count} evaluations run")

    def await_exit(self, allocation: int = 1) -> int:
        """Waits until an allocation's job script has ended; gives its driver's exit code."""
        until(lambda: self.exit_status(allocation) is not None, f"allocation {allocation} ends:\n{self.log()}")
        until(lambda: not self.script(allocation).alive, "the job script has ended")
        status = self.exit_status(allocation)
        assert status is not None
        return status

    # ---- what holds for every search

    def check(self, total: int) -> list[Record]:
        """What must hold of a search that has spent a budget of ``total``; gives its evaluations."""
        records = self.records()
        assert [record.id for record in records] == list(range(1, total + 1)), self.log()
        unended = {record.id: record.state for record in records if record.state not in END_STATES}
        assert not unended, f"{unended}\n{self.log()}"
        known = [record for record in records if record.state is not State.STOPPED]  # of these the last value, if any
        assert all((record.objective is not None) == (record.state is State.FINISHED) for record in known)
        configurations = Counter(tuple(sorted(record.config.items())) for record in records)
        assert not [one for one, count in configurations.items() if count > 1], "a configuration was run twice"
        self.check_lines(records)
        self.check_events()
        self.check_slots()
        (lease,) = self.rows("lease")
        assert lease["token"] is None, "the lease was not given back"
        return records

    def check_lines(self, records: list[Record]) -> None:
        """results.csv has every evaluation that came to an end once, with the database's values."""
        lines = self.lines()
        identities = Counter(int(line["id"]) for line in lines)
        assert not {identity for identity, count in identities.items() if count > 1}, "results.csv has an id twice"
        recorded = self.recorded()
        assert identities.keys() == recorded.keys()
        by_id = {record.id: record for record in records}
        for line in lines:
            record = by_id[int(line["id"])]
            assert line["state"] == record.state
            assert (float(line["objective"]) if line["objective"] else None) == record.objective
            assert line["node"] == (record.node or "")
            assert {name: line[name] for name in record.config} == {
                name: str(value) for name, value in record.config.items()
            }
            assert (float(line["duration"]) if line["duration"] else None) == _rounded(record.duration_s)

    def check_events(self) -> None:
        """Every recorded change of state was allowed, and the last one led to where the evaluation stands."""
        states = {row["id"]: State(row["state"]) for row in self.rows("evaluation")}
        now = dict.fromkeys(states, State.PROPOSED)
        attempts = dict.fromkeys(states, 0)
        for event in self.rows("event"):
            identity, new = event["evaluation"], State(event["state"])
            assert new in TRANSITIONS[now[identity]], f"evaluation {identity} went from {now[identity]} to {new}"
            now[identity] = new
            assert event["attempt"] >= attempts[identity]
            attempts[identity] = event["attempt"]
        assert now == states

    def check_slots(self) -> None:
        """No slot ran two evaluations at once; of one that took several slots only the first is known."""
        turns: dict[tuple[object, ...], list[tuple[float, float, int]]] = defaultdict(list)
        for row in self.rows("attempt", "started_at"):
            place = (row["allocation"], row["node"], row["slot"])
            turns[place].append((row["started_at"], row["ended_at"], row["evaluation"]))
        for place, ones in turns.items():
            for (_, ended_at, first), (started_at, _, second) in pairwise(ones):
                assert ended_at <= started_at, f"evaluations {first} and {second} ran at once on {place}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
