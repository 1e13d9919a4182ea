"""The checks, in the order in which they are shown; each is a function of what has been found so far."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcsearch import horovod, schedulers
from hpcsearch.doctor.filesystem import check_folder
from hpcsearch.doctor.finding import Finding, failed, look, ok
from hpcsearch.errors import HpcsearchError
from hpcsearch.schedulers import launchers
from hpcsearch.schedulers.command import Completed, run
from hpcsearch.sites.check import check_script, sample_requests
from hpcsearch.sites.find import explain_detection, files_of, search_path, site_files
from hpcsearch.sites.load import load_site
from hpcsearch.sites.model import Site

_PACKAGES = ("ConfigSpace", "click", "h5py", "jinja2", "numpy", "rich", "scipy", "sqlalchemy", "submitit")

#: Folders that other nodes do not have.
_NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")

#: Scheduler -> the commands that are needed, and one whose first line of output tells the version.
_COMMANDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "slurm": (("sbatch", "squeue", "scancel", "scontrol"), ("sbatch", "--version")),
    "pbs": (("qsub", "qstat", "qdel"), ("qstat", "-B", "-f", "-F", "json")),
    "local": ((), ()),
}

#: What is to be done where a launcher is not here.
_LAUNCHER_ADVICE = (
    "It is needed in allocations only. If it comes with a module, load that in the site file's environment."
)


@dataclass(frozen=True)
class Setting:
    """What is examined: a site, where workflows go, and the environment."""

    site: Site
    root: Path
    environment: Mapping[str, str]


def examine(site_name: str | None, root: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The findings one by one; what needs a site is left out when there is none."""
    yield _python()
    try:
        known = site_files(search_path(environment=environment))
        name, why = (site_name, "It was named.") if site_name else explain_detection(known, environment)
        site = load_site(*files_of(name, known))
    except HpcsearchError as error:
        yield failed("site", error.message, error.hint)
        yield check_folder(root)
        return
    yield _site(site, why)
    setting = Setting(site, root, environment)
    for title, check in _CHECKS.items():
        try:
            yield check(setting)
        except HpcsearchError as error:
            yield failed(title, error.message, error.hint)


def _python() -> Finding:
    where = f"Python {'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return failed("Python", f"{where} lacks {', '.join(missing)}.", "Install hpcsearch into a new environment.")
    if sys.prefix.startswith(_NODE_LOCAL):
        return look(
            "Python",
            f"{where} is in a folder that other nodes may not have.",
            "Install hpcsearch into an environment on a file system that compute nodes share.",
        )
    return ok("Python", f"{where}.")


def _site(site: Site, why: str) -> Finding:
    found = f"{site.name} ({site.scheduler}). {why}"
    if site.open_queues:
        advice = "A file for this machine would check requests before they are submitted: see `hpcsearch site check`."
        return look("site", found, advice)
    return ok("site", found)


def _scheduler(setting: Setting) -> Finding:
    needed, version = _COMMANDS[setting.site.scheduler]
    if not needed:
        return ok("scheduler", "None is needed: allocations are processes of this machine.")
    missing = [name for name in needed if not shutil.which(name, path=setting.environment.get("PATH"))]
    if missing:
        return failed(
            "scheduler",
            f"The commands {', '.join(missing)} are not here.",
            "Load the scheduler's module, go to a login node, or name another site with --site.",
        )
    answer = run(version)
    return _pbs(answer) if setting.site.scheduler == "pbs" else _slurm(answer.said, setting.environment)


def _pbs(answer: Completed) -> Finding:
    try:
        server = next(iter(json.loads(answer.stdout)["Server"].values()))
        version, active = f"PBS {server.get('pbs_version', '')}".strip(), server.get("server_state") == "Active"
    except (ValueError, KeyError, StopIteration, AttributeError):
        return failed("scheduler", f"PBS's server does not answer: {answer.said}.", "Try again later.")
    if not active:
        advice = "Jobs wait until an administrator starts it again."
        return look("scheduler", f"{version} answers, but starts no jobs at present.", advice)
    if server.get("job_history_enable") != "True":
        return look(
            "scheduler",
            f"{version} answers, without job history.",
            "How an allocation ended is not known; an administrator can set job_history_enable.",
        )
    return ok("scheduler", f"{version} answers, with job history.")


def _slurm(version: str, environment: Mapping[str, str]) -> Finding:
    ping = run(["scontrol", "ping"], timeout_s=10)
    if ping.status or " UP" not in ping.stdout:
        return failed("scheduler", f"{version}, whose controller does not answer: {ping.said}.", "Try again later.")
    if not shutil.which("sacct", path=environment.get("PATH")) or run(["sacct", "-n", "-j", "1"], 10).status:
        return look(
            "scheduler",
            f"{version} answers, without accounting.",
            "How an allocation ended is known for some minutes only, and nodes can be given back once in each.",
        )
    return ok("scheduler", f"{version} answers, with accounting.")


def _variables(setting: Setting) -> Finding:
    dropped = schedulers.dropped_variables(setting.site, setting.environment)
    if dropped:
        return look(
            "environment",
            f"These variables would change job scripts, and submit leaves them out: {', '.join(dropped)}.",
            "Give the queue, account and time with -q, -A and -t.",
        )
    return ok("environment", "No variable changes job scripts.")


def _template(setting: Setting) -> Finding:
    scripts = [check_script(request) for request in sample_requests(setting.site)]
    return ok("job script", f"The template gives a script for each of {len(scripts)} sample requests.")


def _database(setting: Setting) -> Finding:
    return check_folder(setting.root)


def _launcher(setting: Setting) -> Finding:
    kind = setting.site.launcher.kind
    if kind == "none":
        return ok("launcher", "None is needed: allocations have one node.")
    if kind != "srun":
        return _mpiexec(setting.site)
    program = setting.site.launcher.program or "srun"
    if shutil.which(program, path=setting.environment.get("PATH")):
        return ok("launcher", f"{kind}: {program} is here.")
    return look("launcher", f"{kind}: {program} is not here.", _LAUNCHER_ADVICE)


def _mpiexec(site: Site) -> Finding:
    kind, program = site.launcher.kind, site.launcher.program
    found = launchers.find(kind, program)
    if found is not None:
        told = "" if launchers.kind_of(found.program) else " It does not tell its kind."
        return ok("launcher", f"{found.kind}: {found.program} is here{_reaching(found.kind)}.{told}")
    other = launchers.find("auto", program)
    if other is not None:
        return look(
            "launcher",
            f"{kind} is not here: {other.program} is {other.kind}.",
            f'In allocations it must be {kind}; else write kind = "{other.kind}" in the site file\'s [launcher].',
        )
    alone = ' With kind = "tm" none is needed, only PBS\'s own pbs_tmrsh.' if site.scheduler == "pbs" else ""
    return look("launcher", f"{kind}: {program or 'mpiexec'} is not here.", f"{_LAUNCHER_ADVICE}{alone}")


def _reaching(kind: str) -> str:
    if kind in ("pals", "tm"):
        return ""
    return ", and reaches other nodes by pbs_tmrsh" if launchers.remote_shell() else ", and reaches other nodes by ssh"


def _gpus(setting: Setting) -> Finding:
    count, variable = len(gpu_devices()), setting.site.node.gpu_variable
    here = f"{count} GPU{'' if count == 1 else 's'} on this machine" if count else "No GPU on this machine"
    planned = setting.site.node.gpus
    if planned:
        return ok("GPUs", f"{here}; the site's nodes have {planned}, dealt out by {variable or 'nothing'}.")
    if count and setting.site.scheduler == "local" and not variable:
        return ok("GPUs", f"{here}; evaluations get theirs by CUDA_VISIBLE_DEVICES.")
    return ok("GPUs", f"{here}; the site file names none.")


def gpu_devices() -> list[str]:
    """The GPUs that this machine shows, as their tools list them."""
    for argv in (("nvidia-smi", "--list-gpus"), ("rocm-smi", "--showid", "--csv")):
        if shutil.which(argv[0]):
            lines = run(argv, timeout_s=30).stdout.splitlines()
            return [line for line in lines if line.startswith(("GPU ", "card"))]
    return []


def _horovod(_setting: Setting) -> Finding:
    if not horovod.is_installed():
        return ok("Horovod", "It is not installed, and only --data-parallel horovod needs it.")
    try:
        return ok("Horovod", f"{horovod.build()}.")
    except horovod.HorovodError as error:
        return look("Horovod", error.message, f"{error.hint}.")


_CHECKS: Mapping[str, Callable[[Setting], Finding]] = {
    "scheduler": _scheduler,
    "environment": _variables,
    "job script": _template,
    "database": _database,
    "launcher": _launcher,
    "GPUs": _gpus,
    "Horovod": _horovod,
}
