"""What ``hpcsearch doctor --on-compute`` evaluates: each rank tells where it is and what it has."""

from __future__ import annotations

import os
import socket
from typing import Any

from hpcsearch import HpProblem, num_gpus, world
from hpcsearch.worker.environment import GPU_VARIABLES

Problem = HpProblem()
Problem.add_hyperparameter([0], "probe")


def run(config: dict[str, Any], comm: Any) -> dict[str, Any]:
    """Gathers from all ranks: host, place, CPUs, threads and GPUs."""
    from mpi4py import MPI

    place = world()
    own = {
        "host": socket.gethostname(),
        "rank": place.rank,
        "cpus": sorted(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "gpus": next((os.environ[name] for name in GPU_VARIABLES if name in os.environ), ""),
        "num_gpus": num_gpus(),
    }
    library = MPI.Get_library_version().replace("\0", "").splitlines()[0].strip()
    return {"objective": float(comm.allreduce(1)), "ranks": comm.gather(own), "library": library}
