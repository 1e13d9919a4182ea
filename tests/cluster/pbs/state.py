"""What the stand-in of a PBS server keeps, as one file in one folder: its settings, nodes and jobs.

Clients and the cluster's own process (cluster.py) change it under one lock; nobody else keeps anything.
"""

from __future__ import annotations

import copy
import dataclasses
import fcntl
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = "pbshead"
HELD, QUEUED, RUNNING, EXITING, FINISHED = "HQREF"


@dataclass
class Queue:
    """A queue and its limits; 0 and None are none."""

    walltime_s: int = 0
    nodes: int = 0
    running: int = 0
    default_s: int = 0
    enabled: bool = True
    started: bool = True
    at_most: int | None = None  # jobs of a user that wait or run
    closed: bool = False  # it takes nothing from this user


def recorded_queues() -> dict[str, Queue]:
    """The queues of the server whose answers were recorded."""
    day_s, ten_minutes_s = 24 * 3600, 600
    return {
        "batch": Queue(walltime_s=day_s, default_s=ten_minutes_s),
        "debug": Queue(walltime_s=ten_minutes_s, nodes=2, running=2),
        "workq": Queue(),
    }


@dataclass
class Settings:
    """Times in seconds: defaults are those of the real server, tests take shorter ones in the same order."""

    nodes: int = 4
    cpus: int = 2
    term_late_s: float = 6.0  # SIGTERM behind the end of the walltime
    kill_s: float = 10.0  # SIGKILL behind that
    delete_kill_s: float = 22.0  # SIGKILL behind the SIGTERM of a qdel
    release_from_s: float = 2.5  # a job gives no nodes back before
    service_node: bool = False  # job scripts run on a host that no node file names
    down: bool = False
    queues: dict[str, Queue] = field(default_factory=recorded_queues)


@dataclass
class Node:
    """A node: free, job-exclusive and so on follow from the jobs; ``uts`` is the number of its namespace."""

    down: bool = False
    crash: bool = False  # asked for
    uts: int = 0


@dataclass
class Chunk:
    """One chunk of a job on a node; ``index`` is its first task there."""

    node: str
    cpus: int
    processes: int = 1
    index: int = 0


@dataclass
class Job:
    """A job, with what qsub was told and what has become of it; moments in seconds since 1970, 0 where not yet."""

    number: int
    name: str
    owner: str
    queue: str
    cwd: str
    select: str
    place: str
    walltime_s: int
    arguments: str
    account: str = ""
    project: str = "_pbs_project_default"
    join: str = "n"
    keep: str = "n"
    output: str = ""
    error: str = ""
    rerunnable: bool = True
    block: bool = False
    shell: str = ""
    command: list[str] = field(default_factory=list)  # instead of a script
    resources: dict[str, str] = field(default_factory=dict)
    variables: list[tuple[str, str]] = field(default_factory=list)  # as the JSON shows them
    environment: dict[str, str] = field(default_factory=dict)
    chunks: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    depend: str = ""
    state: str = QUEUED
    substate: int = 10
    hold: str = "n"
    comment: str = ""
    places: list[Chunk] = field(default_factory=list)
    session: int = 0
    made: float = 0.0
    eligible: float = 0.0
    changed: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    deleted: float = 0.0
    forced: bool = False
    terminated: float = 0.0  # the moment of SIGTERM at the end of the walltime
    signals: list[int] = field(default_factory=list)  # to be sent to the first node's session
    exit_status: int | None = None
    used_s: int = 0

    @property
    def id(self) -> str:
        return f"{self.number}.{SERVER}"

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(chunk.node for chunk in self.places))

    def now(self, state: str, substate: int) -> None:
        self.state, self.substate, self.changed = state, substate, time.time()

    def end(self, substate: int, exit_status: int | None) -> None:
        """The job is history from now on."""
        self.now(FINISHED, substate)
        self.ended, self.exit_status = self.changed, exit_status

    def closing_words(self, words: str) -> None:
        """What is added to a comment, if there is one."""
        self.comment = f"{self.comment} {words}" if self.comment else ""


@dataclass
class State:
    """Everything."""

    settings: Settings = field(default_factory=Settings)
    nodes: dict[str, Node] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    next: int = 0

    def free(self, node: str) -> int:
        """The CPUs of a node that no job has; 0 where one has all of it."""
        if self.nodes[node].down:
            return 0
        free = self.settings.cpus
        for job in self.holding(node):
            taken = sum(chunk.cpus for chunk in job.places if chunk.node == node)
            free -= self.settings.cpus if "excl" in job.place else taken
        return max(0, free)

    def holding(self, node: str) -> list[Job]:
        """The jobs on a node."""
        running = (job for job in self.jobs.values() if job.state in (RUNNING, EXITING))
        return [job for job in running if node in job.hosts]

    @classmethod
    def load(cls, text: str) -> State:
        values = json.loads(text)
        settings = values["settings"]
        queues = {name: Queue(**queue) for name, queue in settings.pop("queues").items()}
        return cls(
            Settings(**settings, queues=queues),
            {name: Node(**node) for name, node in values["nodes"].items()},
            {int(number): _job(job) for number, job in values["jobs"].items()},
            values["next"],
        )


def _job(values: dict[str, Any]) -> Job:
    places = [Chunk(**chunk) for chunk in values.pop("places")]
    variables = [(name, value) for name, value in values.pop("variables")]
    chunks = [(count, resources) for count, resources in values.pop("chunks")]
    return Job(**values, places=places, variables=variables, chunks=chunks)


@dataclass(frozen=True)
class Server:
    """The folder of a server."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> Server:
        made = cls(folder)
        (folder / "jobs").mkdir(parents=True)
        (folder / "aux").mkdir()
        (folder / "lock").touch()
        nodes = {f"pn{number}": Node() for number in range(1, settings.nodes + 1)}
        # A server's ids do not come again, and tests have many servers.
        made._save(State(settings, nodes, next=random.randrange(1, 9_000_000)))
        return made

    def script(self, job: Job) -> Path:
        return self.folder / "jobs" / f"{job.id}.SC"

    def node_file(self, job: Job) -> Path:
        return self.folder / "aux" / job.id

    def read(self) -> State:
        return State.load((self.folder / "state.json").read_text(encoding="utf-8"))

    @contextmanager
    def changing(self) -> Iterator[State]:
        """The state, to be changed by one process at a time; nothing is kept when an exception leaves."""
        with (self.folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            before = copy.deepcopy(state)
            yield state
            if state != before:
                self._save(state)

    def write_node_file(self, job: Job) -> None:
        """One line for each process that a chunk is for."""
        lines = [chunk.node for chunk in job.places for _ in range(chunk.processes)]
        self.node_file(job).write_text("".join(f"{line}\n" for line in lines))

    def _save(self, state: State) -> None:
        new = self.folder / "state.new"
        new.write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
        new.replace(self.folder / "state.json")
