"""Which nodes an allocation has, and how an agent is started on each: one table entry for each kind of launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError

#: The agent itself. -P keeps the working directory's files from standing in for the standard library's.
AGENT = (sys.executable, "-P", "-m", "hpcsearch.worker.agent")


def _this_host() -> list[str]:
    return [socket.gethostname()]


def _slurm_hosts() -> list[str]:
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    answer = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)
    if answer.returncode != 0 or not answer.stdout.split():
        raise AllocationError(
            f"Slurm does not tell the nodes of this allocation ({nodes!r}): {answer.stderr.strip()}.",
            "The launcher 'srun' works inside a Slurm allocation only: see the site file's [launcher].",
        )
    return answer.stdout.split()


def _here(_host: str, _launch: Launch) -> list[str]:
    return list(AGENT)


def _srun(host: str, launch: Launch) -> list[str]:
    # --overlap shares the node with evaluations' own steps; without -c and --cpu-bind=none it would get one core.
    fixed = ["srun", "--overlap", "-N1", "-n1", "--cpu-bind=none", "--mem=0", "-w", host]
    return [*fixed, *launch.arguments, *AGENT]


_HOSTS: Mapping[str, Callable[[], list[str]]] = {"none": _this_host, "srun": _slurm_hosts}
_AGENT_ARGV: Mapping[str, Callable[[str, Launch], list[str]]] = {"none": _here, "srun": _srun}


def hosts(launch: Launch) -> list[str]:
    """The nodes of this allocation, the driver's own first.

    Raises:
        AllocationError: the scheduler does not tell them, or no such launcher is known.
    """
    if launch.kind not in _HOSTS:
        raise AllocationError(f"No launcher {launch.kind!r} is known.", f"Use one of: {', '.join(_HOSTS)}.")
    return _HOSTS[launch.kind]()


def agent_argv(host: str, launch: Launch) -> list[str]:
    """The command that starts the agent on ``host``."""
    return _AGENT_ARGV[launch.kind](host, launch)
