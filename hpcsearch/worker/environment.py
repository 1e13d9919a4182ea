"""The environment of evaluations: without what the launcher left there, with what their slot gives them.

A launcher tells its child through variables that it is a rank of something. Left in place, an evaluation that calls
MPI_Init would take itself for that rank, and its own mpiexec or srun would start on other nodes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What each launcher, and the scheduler behind it, sets for the processes that it starts.
LAUNCHER_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "slurm": ("SLURM_", "SRUN_"),
    "pbs": ("PBS_",),
    "pmi": ("PMI_", "PMIX_"),
    "hydra": ("HYDRA_", "HYDI_", "MPI_"),
    "openmpi": ("OMPI_", "PRTE_"),
    "pals": ("PALS_",),
}
_ALL_PREFIXES = tuple(prefix for prefixes in LAUNCHER_PREFIXES.values() for prefix in prefixes)


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with each launcher variable renamed to HPCSEARCH_<name>, where it does no harm."""
    return {
        f"HPCSEARCH_{name}" if name.startswith(_ALL_PREFIXES) else name: value for name, value in environment.items()
    }


#: Tells each process of a launched evaluation which launch it belongs to; so what is left of one is found.
LAUNCH_VARIABLE = "HPCSEARCH_LAUNCH"

#: The variables by which GPUs are given to a process, by maker.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


#: What schedulers and users write for none.
_NO_GPU = frozenset({"NoDevFiles", "-1"})


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that this process may give away: those that the scheduler left it, else all that the node has."""
    for name in GPU_VARIABLES:
        if name in environment:
            return [gpu for gpu in environment[name].split(",") if gpu and gpu not in _NO_GPU]
    return [str(index) for index in range(_nvidia_gpus() or _amd_gpus())]


def _nvidia_gpus() -> int:
    return sum(re.fullmatch(r"nvidia\d+", name) is not None for name in os.listdir("/dev"))


def _amd_gpus() -> int:
    nodes = Path("/sys/class/kfd/kfd/topology/nodes")
    return sum(file.read_text().strip() != "0" for file in nodes.glob("*/gpu_id"))


def own_cores() -> list[list[int]]:
    """The cores that this process may use, each as its CPUs (hardware threads), of those in its affinity mask."""
    mask = os.sched_getaffinity(0)
    cores: dict[tuple[int, ...], None] = {}
    for cpu in sorted(mask):
        file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = _cpus(file.read_text()) if file.exists() else {cpu}
        cores[tuple(sorted(siblings & mask))] = None
    return [list(core) for core in cores]


def _cpus(text: str) -> set[int]:
    """The numbers in a list like ``0-3,8``."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def slot_variables(index: int, threads: int, gpus: Sequence[str], gpu_variable: str) -> dict[str, str]:
    """What a slot adds: its number, as many threads as it has cores, and its GPUs."""
    variables = {"HPCSEARCH_SLOT": str(index), "OMP_NUM_THREADS": str(max(1, threads))}
    if gpus:
        variables[gpu_variable] = ",".join(gpus)
    return variables
