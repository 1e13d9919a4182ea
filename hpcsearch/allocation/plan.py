"""What one allocation was asked to do: written by submit as plan.json, read by the driver before anything else.

It holds all that the first agents need, so that they start before the database is open.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Configuration, Resources

#: Bytes of an evaluation's output that are kept: the first half and the last half.
OUTPUT_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True)
class Launch:
    """How an agent or an evaluation's ranks are started: ``kind`` names the launcher, ``arguments`` go behind its own.

    ``program`` is the launcher's command, where it has a name of its own.
    """

    kind: str = "none"
    arguments: tuple[str, ...] = ()
    program: str = ""


@dataclass(frozen=True)
class Plan:
    """One allocation's orders."""

    workflow: str
    directory: str  # the workflow's directory, absolute
    allocation: int
    site: str
    run: str  # reference to the run function, absolute
    names: tuple[str, ...]  # the hyperparameters
    cwd: str  # where run functions are called
    job_mode: str
    nodes: int
    walltime_s: float
    launch: Launch = Launch()
    mpi: Launch = Launch()  # what starts the ranks of an evaluation
    launches_per_s: float = 0.0  # that the scheduler takes; 0: as many as there are
    max_launches: int = 0  # steps that the scheduler takes in one allocation; 0: unknown
    release: bool = False  # whether idle nodes are given back early
    gpu_variable: str = "CUDA_VISIBLE_DEVICES"
    cores: int = 0  # that the site says an agent has on each node, at least; 0: unknown
    reserved_cores: tuple[int, ...] = ()  # CPUs that belong to the system
    gpu_order: tuple[int, ...] = ()  # GPU numbers in the order of the cores next to them
    evals_per_node: int = 1
    nodes_per_eval: int = 1
    ranks_per_node: int = 1
    threads_per_rank: int = 0  # 0: an even share of the cores
    gpus_per_rank: int = 0  # 0: an even share of the GPUs
    data_parallel: str | None = None  # the library that is to find an evaluation's ranks, which agents start
    num_ps: int = 0  # ranks that are TensorFlow's parameter servers
    sized: bool = False  # whether evaluations say themselves what they need
    bind: bool = True
    slot_reuse: str = "auto"  # auto, always, never, or a number of evaluations
    eval_timeout_s: float | None = None
    resumable: bool = False
    stopper: str = "none"  # the rule that ends evaluations early: a name, or path/to/file.py:Class
    stopper_arguments: Mapping[str, Any] = field(default_factory=dict)
    stopper_metric: str | None = None  # NAME, NAME:min or NAME:max
    stopping: str = "raise"  # how a run function is told: raise, or ask
    stop_grace_s: float = 60.0  # what does not end by itself so long after it was stopped is killed
    stop_margin_s: float | None = None  # how long before the end of its time a run function is told; None: as usual
    max_attempts: int = 3  # tries at an evaluation whose node is lost
    retry_failed: bool = False  # whether an evaluation that failed is tried again, too
    max_success: int | None = None  # evaluations that succeed, of all allocations: with so many the search is done
    smoke: bool = False  # whether one evaluation has to succeed before any other begins
    grace_s: float = 10.0  # kept free at the end of the walltime, to kill, record and close
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES
    spares: tuple[Configuration, ...] = ()  # for slots that would be idle until the search is up

    @property
    def resources(self) -> Resources:
        """What an evaluation needs that says nothing else."""
        return Resources(self.nodes_per_eval, self.ranks_per_node, self.threads_per_rank, self.gpus_per_rank)

    @property
    def at_once(self) -> int:
        """How many evaluations run at the same time, where each needs as much as the plan says."""
        return self.nodes * self.evals_per_node if self.nodes_per_eval == 1 else self.nodes // self.nodes_per_eval

    @property
    def all_alike(self) -> bool:
        """Whether each evaluation takes one slot."""
        named = self.threads_per_rank or self.gpus_per_rank
        return not (self.sized or named or self.nodes_per_eval > 1)

    @property
    def uses_slots(self) -> bool:
        """Whether evaluations are single processes in slots, so that these are started at once."""
        return self.job_mode == "serial" and self.data_parallel is None

    def save(self, path: Path) -> None:
        """Writes the plan."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a plan.

        Raises:
            AllocationError: it is not there, or was written for another version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for name in ("names", "spares", "reserved_cores", "gpu_order"):
                values[name] = tuple(values[name])
            return cls(launch=_launch(values.pop("launch")), mpi=_launch(values.pop("mpi")), **values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AllocationError(
                f"The orders of this allocation, {path}, cannot be read: {error}.",
                "Start another allocation with 'hpcsearch resume'.",
            ) from None


def _launch(values: Mapping[str, Any]) -> Launch:
    return Launch(values["kind"], tuple(values["arguments"]), values["program"])
