"""What a launcher starts for each rank of an evaluation: ``python -P -m hpcsearch.worker.rank <JSON>``.

It finds its place, takes its share of the node's cores and GPUs, and becomes the program, or calls the run function
with all other ranks. So ranks are bound in the same way whatever has launched them. Rank 0 alone tells how it goes, as
lines on the launcher's own standard output (see ``telling``); whatever else is printed goes to standard error.

It imports as little as it can: the launcher's own time is what an evaluation should cost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from hpcsearch.worker import telling

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Launcher -> the variables in which it tells a process its rank, its rank on the node, and how many there are.
PLACES: Mapping[str, tuple[str, str, str]] = {
    "srun": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"),
    "hydra": ("PMI_RANK", "MPI_LOCALRANKID", "PMI_SIZE"),
    "openmpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
    "pals": ("PALS_RANKID", "PALS_LOCAL_RANKID", "PALS_SIZE"),
}

#: A rank that has told its failure waits so long (seconds) to be ended with all others, before it ends them itself.
ABORT_AFTER_S = 5.0

#: Exit code of a rank that has told why.
TOLD = 70


def main() -> None:
    """This process's part in an evaluation."""
    orders: dict[str, Any] = json.loads(sys.argv[1])
    rank, local_rank, size = (_number(name) for name in PLACES[orders["launcher"]])
    host = _host(orders["hosts"])
    if rank is None or local_rank is None or (size is not None and size != orders["size"]):
        found = "tells no rank" if rank is None or local_rank is None else f"has started {size} processes"
        message = f"the launcher {orders['launcher']} {found}, and the evaluation has {orders['size']}"
        telling.say(1, [telling.FAILED, 0, host, _failure("LaunchError", message)])
        sys.exit(TOLD)
    _take_share(orders, host, local_rank)
    if orders["program"] is not None:
        _become(orders["program"], rank, host)
    else:
        from hpcsearch.worker import mpi

        mpi.work(orders, rank, local_rank, host)


def _number(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else None


def _host(hosts: list[str]) -> str:
    """This node, by the name that the driver knows it by."""
    own = os.uname().nodename
    short = own.partition(".")[0]
    return next((name for name in hosts if name.partition(".")[0] == short), own)


def _take_share(orders: dict[str, Any], host: str, local_rank: int) -> None:
    """Cores, threads and GPUs of this rank."""
    shares: list[list[Any]] = orders["shares"]
    parts = next((parts for names, parts in shares if not names or host in names), shares[0][1])
    part = parts[local_rank % len(parts)]
    if part["cpus"]:
        os.sched_setaffinity(0, part["cpus"])
    os.environ["OMP_NUM_THREADS"] = str(part["threads"])
    if part["gpus"]:
        os.environ[orders["gpu_variable"]] = ",".join(part["gpus"])


def _become(program: Mapping[str, Any], rank: int, host: str) -> None:
    if rank == 0:
        telling.say(1, [telling.BEGUN, time.time()])
    try:
        os.chdir(program["cwd"])
        os.environ.update(program["environment"])
        os.execvp(program["argv"][0], program["argv"])
    except OSError as error:
        message = f"{error.filename or program['argv'][0]} cannot be started: {error.strerror}"
        telling.say(1, [telling.FAILED, rank, host, _failure("ProgramError", message)])
        sys.exit(TOLD)


def _failure(kind: str, message: str) -> dict[str, str]:
    return {"kind": kind, "message": message, "traceback": ""}


if __name__ == "__main__":
    main()
