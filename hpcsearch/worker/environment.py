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


#: The variables by which GPUs are given to a process, by maker.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that this process may give away: those that the scheduler left it, else all that the node has."""
    for name in GPU_VARIABLES:
        if name in environment:
            return [gpu for gpu in environment[name].split(",") if gpu and gpu != "NoDevFiles"]
    return [str(index) for index in range(_nvidia_gpus() or _amd_gpus())]


def _nvidia_gpus() -> int:
    return sum(re.fullmatch(r"nvidia\d+", name) is not None for name in os.listdir("/dev"))


def _amd_gpus() -> int:
    nodes = Path("/sys/class/kfd/kfd/topology/nodes")
    return sum(file.read_text().strip() != "0" for file in nodes.glob("*/gpu_id"))


def slot_variables(index: int, cores: int, gpus: Sequence[str], gpu_variable: str) -> dict[str, str]:
    """What a slot adds: its number, as many threads as it has cores, and its GPUs."""
    variables = {"HPCSEARCH_SLOT": str(index), "OMP_NUM_THREADS": str(max(1, cores))}
    if gpus:
        variables[gpu_variable] = ",".join(gpus)
    return variables
