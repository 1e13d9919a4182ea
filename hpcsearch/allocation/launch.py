"""Which nodes an allocation has, and how an agent is started on each: one table entry for each kind of launcher."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError
from hpcsearch.worker.environment import GPU_VARIABLES

#: The agent itself. -P keeps the working directory's files from standing in for the standard library's.
AGENT = (sys.executable, "-P", "-m", "hpcsearch.worker.agent")

#: Starts it through PBS alone.
_TM = (sys.executable, "-P", "-m", "hpcsearch.allocation.tm")


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


def _node_file_hosts() -> list[Host]:
    from hpcsearch.schedulers.pbs_nodes import node_file_hosts  # where it is needed: it takes time to import

    file = os.environ.get("PBS_NODEFILE", "")
    try:
        names = node_file_hosts(os.environ)
    except OSError as error:
        raise AllocationError(f"PBS's list of nodes, {file}, cannot be read: {error.strerror}.") from None
    if not names:
        raise AllocationError(
            f"PBS does not tell the nodes of this allocation ($PBS_NODEFILE is {file!r}).",
            "This launcher works inside a PBS job only: see the site file's [launcher].",
        )
    return [Host(name) for name in names]


def _mpiexec(host: Host, launch: Launch) -> list[str]:
    # The driver's own node has all its cores without a launcher, and works where there is none.
    if _short(host.name) == _short(socket.gethostname()):
        return list(AGENT)
    from hpcsearch.schedulers import launchers

    found = launchers.find(launch.kind, launch.program)
    if found is None:
        raise AllocationError(
            f"No launcher of kind {launch.kind!r} is on {socket.gethostname()}, so that no other node can be reached.",
            "Load its module in the site file's environment, or name it with program and kind in [launcher]: "
            'kind "tm" needs no MPI, only PBS\'s own pbs_tmrsh.',
        )
    if found.kind == "tm":
        return [*_TM, found.program, host.name, *AGENT]
    options = _MPIEXEC[found.kind](host.name, launchers.remote_shell())
    return [found.program, *options, *launch.arguments, *AGENT]


def _short(name: str) -> str:
    return name.partition(".")[0]


def _pals(host: str, _shell: str) -> list[str]:
    return ["--hosts", host, "-n", "1", "--ppn", "1", "--cpu-bind", "none"]


def _hydra(host: str, shell: str) -> list[str]:
    through = ["-launcher", "ssh", "-launcher-exec", shell] if shell else []
    return [*through, "-hosts", host, "-n", "1", "-bind-to", "none"]


def _openmpi(host: str, shell: str) -> list[str]:
    through = ["--mca", "plm_rsh_agent", shell] if shell else []
    # Without tm, which Open MPI may have been built with, it takes the node that is named here and no other.
    alone = ["--mca", "plm", "^tm", "--mca", "ras", "^tm"]
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    fixed = [*through, *alone, *root, "--host", host, "-n", "1", "--bind-to", "none"]
    return [*fixed, *exports(for_other_nodes(os.environ))]


def exports(environment: Mapping[str, str]) -> list[str]:
    """Open MPI gives processes on other nodes only those variables that it is told to; PBS's own it must not."""
    names = (name for name in environment if re.fullmatch(r"\w+", name) and not name.startswith(("OMPI_", "PBS_")))
    return [word for name in sorted(names) for word in ("-x", name)]


_MPIEXEC: Mapping[str, Callable[[str, str], list[str]]] = {"pals": _pals, "hydra": _hydra, "openmpi": _openmpi}
#: The kinds that start an agent on a node of a PBS job.
_ON_PBS = ("auto", *_MPIEXEC, "tm")
_HOSTS: Mapping[str, Callable[[], list[Host]]] = {
    "none": _this_host,
    "srun": _slurm_hosts,
    **dict.fromkeys(_ON_PBS, _node_file_hosts),
}
_AGENT_ARGV: Mapping[str, Callable[[Host, Launch], list[str]]] = {
    "none": _here,
    "srun": _srun,
    **dict.fromkeys(_ON_PBS, _mpiexec),
}


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


def is_launched(argv: Sequence[str], launch: Launch) -> bool:
    """Whether the agent's command is a launcher that the driver has to set apart, in session and in environment.

    PBS sends SIGTERM to all processes of a session: mpiexec would kill its agent, which could end nothing in order.
    """
    return launch.kind in _ON_PBS and tuple(argv) != AGENT


def environment_for(argv: Sequence[str], launch: Launch) -> dict[str, str] | None:
    """The environment of the agent's command; None for the driver's own."""
    return for_other_nodes(os.environ) if is_launched(argv, launch) else None


def for_other_nodes(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the variables that name GPUs of this node: mpiexec would hand them on to the agent's."""
    return {
        name: value
        for name, value in environment.items()
        if name not in GPU_VARIABLES or not re.search("GPU-|MIG-", value)
    }
