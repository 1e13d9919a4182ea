"""The commands that start an evaluation's ranks on its nodes: one table entry for each kind of launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpcsearch.allocation.launch import exports, for_other_nodes
from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError
from hpcsearch.schedulers import launchers

#: A rank's process. -P keeps the working directory's files from standing in for the standard library's.
RANK = (sys.executable, "-P", "-m", "hpcsearch.worker.rank")

#: Where a rank of a run function has ended, the others are given so long (seconds): they end together.
_WAIT_S = 30

#: What the library says of itself -> the plug-in with which srun starts it. Others have what the site's default is.
_PMI: Mapping[str, str] = {"MPICH": "pmi2", "Intel": "pmi2", "Open MPI": "pmix"}

_LIBRARY_LIMIT_S = 60.0


@dataclass(frozen=True)
class Ranks:
    """``per_node`` ranks on each of ``hosts``; ``together`` says whether all have to end when one has."""

    hosts: tuple[str, ...]
    per_node: int
    together: bool = True

    @property
    def size(self) -> int:
        return len(self.hosts) * self.per_node


def mpi_library() -> str:
    """What the MPI library of mpi4py says of itself; empty where there is none."""
    code = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=_LIBRARY_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.replace("\0", "").strip() if done.returncode == 0 else ""


def resolved(launch: Launch, library: Callable[[], str] = mpi_library) -> Launch:
    """The launcher as it is on this machine: its kind and program are known then, and what the library needs of it.

    Raises:
        AllocationError: there is none.
    """
    if launch.kind == "srun":
        if any(argument.startswith("--mpi") for argument in launch.arguments):
            return launch
        said = library()
        pmi = next((pmi for name, pmi in _PMI.items() if name in said), "")
        return Launch("srun", (*launch.arguments, f"--mpi={pmi}") if pmi else launch.arguments, launch.program)
    kind = "auto" if launch.kind in ("none", "tm") else launch.kind
    found = launchers.find(kind, launch.program)
    if found is None or found.kind == "tm":
        raise AllocationError(
            f"No MPI launcher{'' if kind == 'auto' else f' of kind {kind!r}'} is on {socket.gethostname()}, so that "
            "no evaluation of job mode mpi can be started.",
            "Load its module in the site file's environment, name it with mpi_kind and mpi_program in [launcher], or "
            "type pip install 'hpcsearch[local-mpi]'.",
        )
    return Launch(found.kind, launch.arguments, found.program)


def mpi_argv(launch: Launch, ranks: Ranks, command: Sequence[str]) -> list[str]:
    """What starts ``command`` once for each rank, in blocks: the first ``per_node`` on the first host, and so on."""
    return [*_ARGV[launch.kind](launch, ranks), *launch.arguments, *command]


def mpi_environment(launch: Launch, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the launcher: without what names GPUs of this node, and so that launches run side by side."""
    own = {"SLURM_OVERLAP": "1"} if launch.kind != "srun" and "SLURM_JOB_ID" in environment else {}
    return {**for_other_nodes(environment), **own}


def _srun(launch: Launch, ranks: Ranks) -> list[str]:
    # Without -c and --exact a step has all that the job has on its nodes; each rank takes its own share of that.
    wait = _WAIT_S if ranks.together else 0
    shape = [f"-N{len(ranks.hosts)}", f"-n{ranks.size}", f"--ntasks-per-node={ranks.per_node}", "--distribution=block"]
    options = ["--overlap", "--cpu-bind=none", "--mem=0", "--kill-on-bad-exit=1", f"--wait={wait}", "--input=none"]
    return [launch.program or "srun", *shape, *options, "-w", ",".join(ranks.hosts)]


def _pals(launch: Launch, ranks: Ranks) -> list[str]:
    shape = ["-n", str(ranks.size), "--ppn", str(ranks.per_node)]
    return [launch.program, "--hosts", ",".join(ranks.hosts), *shape, "--cpu-bind", "none"]


def _hydra(launch: Launch, ranks: Ranks) -> list[str]:
    shell = launchers.remote_shell()
    through = ["-launcher", "ssh", "-launcher-exec", shell] if shell else []
    # On the driver's own node alone nothing has to be reached.
    local = ["-launcher", "fork"] if _is_here(ranks.hosts) else through
    shape = ["-n", str(ranks.size), "-ppn", str(ranks.per_node)]
    return [launch.program, *local, "-hosts", ",".join(ranks.hosts), *shape, "-bind-to", "none"]


def _openmpi(launch: Launch, ranks: Ranks) -> list[str]:
    shell = launchers.remote_shell()
    through = ["--mca", "plm_rsh_agent", shell, "--mca", "plm", "^tm", "--mca", "ras", "^tm"] if shell else []
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    hosts = ",".join(f"{host}:{ranks.per_node}" for host in ranks.hosts)
    shape = ["--host", hosts, "-n", str(ranks.size), "--map-by", f"ppr:{ranks.per_node}:node", "--oversubscribe"]
    return [launch.program, *through, *root, *shape, "--bind-to", "none", *exports(for_other_nodes(os.environ))]


def _is_here(hosts: Sequence[str]) -> bool:
    return [host.partition(".")[0] for host in hosts] == [socket.gethostname().partition(".")[0]]


_ARGV: Mapping[str, Callable[[Launch, Ranks], list[str]]] = {
    "srun": _srun,
    "pals": _pals,
    "hydra": _hydra,
    "openmpi": _openmpi,
}
