"""Which nodes an allocation has, and how an agent is started on each: one table entry for each kind of launcher."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError

#: The agent itself. -P keeps the working directory's files from standing in for the standard library's.
AGENT = (sys.executable, "-P", "-m", "hpcsearch.worker.agent")


@dataclass(frozen=True)
class Host:
    """A node of the allocation; ``cpus`` is how many the scheduler gave there, 0 where it does not tell."""

    name: str
    cpus: int = 0


def _this_host() -> list[Host]:
    return [Host(socket.gethostname())]


def _slurm_hosts() -> list[Host]:
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    answer = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)
    names = answer.stdout.split()
    if answer.returncode != 0 or not names:
        raise AllocationError(
            f"Slurm does not tell the nodes of this allocation ({nodes!r}): {answer.stderr.strip()}.",
            "The launcher 'srun' works inside a Slurm allocation only: see the site file's [launcher].",
        )
    cpus = slurm_counts(os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    known = len(cpus) == len(names)
    return [Host(name, cpus[place] if known else 0) for place, name in enumerate(names)]


def slurm_counts(text: str) -> list[int]:
    """Slurm's numbers by node, such as ``72(x2),36``, one for each node."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in found for _ in range(int(times or 1))]


def _here(_host: Host, _launch: Launch) -> list[str]:
    return list(AGENT)


def _srun(host: Host, launch: Launch) -> list[str]:
    # --overlap shares the node with evaluations' own steps; without -c and --cpu-bind=none it would get one core.
    fixed = ["srun", "--overlap", "-N1", "-n1", "--cpu-bind=none", "--mem=0", "-w", host.name]
    cpus = [f"-c{host.cpus}"] if host.cpus else []
    return [*fixed, *cpus, *launch.arguments, *AGENT]


_HOSTS: Mapping[str, Callable[[], list[Host]]] = {"none": _this_host, "srun": _slurm_hosts}
_AGENT_ARGV: Mapping[str, Callable[[Host, Launch], list[str]]] = {"none": _here, "srun": _srun}


def hosts(launch: Launch) -> list[Host]:
    """The nodes of this allocation, the driver's own first.

    Raises:
        AllocationError: the scheduler does not tell them, or no such launcher is known.
    """
    if launch.kind not in _HOSTS:
        raise AllocationError(f"No launcher {launch.kind!r} is known.", f"Use one of: {', '.join(_HOSTS)}.")
    return _HOSTS[launch.kind]()


def agent_argv(host: Host, launch: Launch) -> list[str]:
    """The command that starts the agent on ``host``."""
    return _AGENT_ARGV[launch.kind](host, launch)
