"""What hpcsearch knows of a machine: its scheduler, queues, nodes and launcher.

Every class is a frozen value and has the keys of a site file as its fields. A number that is 0 and a text that is empty
mean "unknown" or "no limit"; a field that is a duration carries ``_s`` here and is written ``H:MM:SS`` in the file.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from hpcsearch.errors import UsageError

#: Field metadata: seconds in memory, ``H:MM:SS`` under the name without ``_s`` in the file.
DURATION: Final[Mapping[str, bool]] = {"duration": True}

SchedulerName = Literal["slurm", "pbs", "local"]
LauncherKind = Literal["none", "srun", "pals", "hydra", "openmpi", "tm", "auto"]
MpiLauncherKind = Literal["", "srun", "pals", "hydra", "openmpi", "auto"]
GpuVariable = Literal["", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"]


@dataclass(frozen=True)
class NodeShape:
    """One node. Cores are counted without hardware threads; the agent's real mask has the last word."""

    cores: int = 0
    reserved_cores: tuple[int, ...] = ()
    threads_per_core: int = 1
    gpus: int = 0
    gpu_variable: GpuVariable = ""
    #: GPU numbers in the order of the cores next to them: (3, 2, 1, 0) where GPU 3 sits at the first cores.
    gpu_order: tuple[int, ...] = ()
    memory_mb: int = 0


@dataclass(frozen=True)
class Launcher:
    """What starts processes on other nodes, and its arguments beyond the ones that hpcsearch always gives."""

    kind: LauncherKind = "none"
    program: str = ""
    agent_arguments: tuple[str, ...] = ()
    #: What starts the ranks of an evaluation in job mode mpi, where that is another launcher than the agents'.
    mpi_kind: MpiLauncherKind = ""
    mpi_program: str = ""
    mpi_arguments: tuple[str, ...] = ()
    #: Launches that the scheduler takes in a second, and in one allocation (MaxStepCount). 0: no limit is known.
    launches_per_s: float = 0.0
    max_launches: int = 0


@dataclass(frozen=True)
class Tier:
    """The longest walltime that a queue grants to a range of node counts."""

    min_nodes: int = 1
    max_nodes: int = 0
    walltime_s: int = field(default=0, metadata=DURATION)

    def takes(self, nodes: int) -> bool:
        return self.min_nodes <= nodes and (self.max_nodes == 0 or nodes <= self.max_nodes)


@dataclass(frozen=True)
class Queue:
    """What a user names with ``-q``: a Slurm partition, a Slurm QOS, both, or a PBS queue."""

    name: str
    partition: str = ""
    qos: str = ""
    tiers: tuple[Tier, ...] = ()
    #: Its nodes, where they differ from the site's.
    node: NodeShape = NodeShape()
    #: Where nodes are shared: the CPUs (hardware threads) and megabytes asked for on each. 0 asks for whole nodes.
    cpus_per_node: int = 0
    memory_mb: int = 0
    min_walltime_s: int = field(default=0, metadata=DURATION)
    #: Jobs that one user may have running, and running and waiting together.
    max_running: int = 0
    max_jobs: int = 0
    #: Whether the scheduler may end its jobs in favour of others, and whether it then queues them again.
    preemptable: bool = False
    requeue: bool = False
    #: Whether allocations that follow each other are allowed.
    chain: bool = True
    by_request: bool = False
    routes_to: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    note: str = ""

    def longest_s(self, nodes: int) -> int | None:
        """The longest walltime for ``nodes`` nodes; 0 is unlimited, None when no tier takes so many."""
        if not self.tiers:
            return 0
        granted = [tier.walltime_s for tier in self.tiers if tier.takes(nodes)]
        if not granted:
            return None
        return 0 if 0 in granted else max(granted)


@dataclass(frozen=True)
class Detect:
    """How a machine is told: any host name pattern that matches, or any variable that has the value."""

    hostnames: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """Where a value comes from. Confidence: A official documentation, B maintained third-party file, C weak."""

    key: str
    source: str
    date: datetime.date
    confidence: Literal["A", "B", "C"]


@dataclass(frozen=True)
class Site:
    """A machine's facts."""

    name: str
    scheduler: SchedulerName
    organisation: str = ""
    contact: str = ""
    detect: Detect = Detect()
    node: NodeShape = NodeShape()
    launcher: Launcher = Launcher()
    #: Shell lines run before hpcsearch starts on the first node, such as ``module load``.
    environment: tuple[str, ...] = ()
    #: Options for the scheduler in every script, one line each, without ``#SBATCH`` or ``#PBS``.
    directives: tuple[str, ...] = ()
    #: What every chunk of a PBS ``select`` asks for, such as ``system=polaris``.
    chunk: str = ""
    required: tuple[Literal["account"], ...] = ()
    #: The option by which PBS is told the account: some machines charge an account, some a project.
    account_option: Literal["-A", "-P"] = "-A"
    queues: tuple[Queue, ...] = ()
    #: Whether queues that the file does not name are taken too, without limits.
    open_queues: bool = False
    release: Literal["slurm", "pbs", "none"] = "none"
    poll_interval_s: int = 30
    driver: Literal["first-node", "service-node"] = "first-node"
    #: Seconds before the end of the walltime at which the driver starts to drain.
    drain_margin_s: int = 60
    comment: str = ""
    wckey: str = ""
    #: A job script template of the site's own, beside its file.
    template: str = ""
    facts: tuple[Fact, ...] = ()

    def queue(self, name: str) -> Queue:
        """The queue of that name; raises UsageError, naming those there are, when there is none."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        if self.open_queues:
            return Queue(name=name, partition=name)
        known = [queue.name for queue in self.queues]
        raise UsageError(
            f"site {self.name} has no queue {name!r}{did_you_mean(name, known)}; it has {', '.join(known) or 'none'}",
            f"If the machine has it, describe it in a file of yours: [queues.{name}] in ~/.config/hpcsearch/sites/.",
        )

    def node_of(self, queue: Queue) -> NodeShape:
        """The shape of the queue's nodes."""
        return self.node if queue.node == NodeShape() else queue.node


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'debug'?`` or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
