"""Gives nodes of a running Slurm job back: ``scontrol update JobId=... NodeList=<what stays>``."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.command import Completed, run
from hpcsearch.schedulers.hostlist import compress
from hpcsearch.schedulers.release import ReleaseOutcome, refused

#: scontrol waits 5 s by itself where a resize is not possible yet.
_TIMEOUT_S = 60.0

#: A host is named that the job does not have, or its first one is not.
_NOT_ITS_OWN = "Invalid node name"

#: What Slurm says when it refuses -> why, and whether a later try may succeed.
_REFUSALS: Mapping[str, tuple[str, bool]] = {
    _NOT_ITS_OWN: (
        "Slurm cannot take these nodes from the job: its first node always stays, and it must have had all that stay",
        False,
    ),
    "not supported on this system": (
        "this machine's Slurm does not let jobs give nodes back (disable_job_shrink is set)",
        False,
    ),
    "Invalid user id": ("the job belongs to another user", False),
    "Access/permission denied": ("Slurm does not permit this user to change the job", False),
    "Invalid job id": ("Slurm knows no such job any more", False),
    "already finished": ("the job has ended", False),
    "Unable to contact": ("Slurm does not answer", True),
    "Socket timed out": ("Slurm does not answer", True),
}
_INDEX_NOT_SET = "DB index is being set"


def release(job_id: str, keep: Sequence[str], leave: Sequence[str], folder: Path) -> ReleaseOutcome:
    """Shrinks the job to the hosts ``keep``, of which the batch host must be one; steps on ``leave`` are killed.

    scontrol writes a script into its working directory, so it runs in a folder of its own inside ``folder``, which is
    removed again. Every refusal is an outcome; nothing is raised for it.
    """
    if not keep:
        return refused("a job cannot give back all its nodes")
    try:
        with tempfile.TemporaryDirectory(prefix="release-", dir=folder) as scratch:
            done = _shrink(job_id, keep, scratch)
            if _NOT_ITS_OWN in done.said:
                done = _shrink(job_id, _still_there(job_id, keep), scratch)
            if done.status == 0:
                return ReleaseOutcome(True, environment=_environment(Path(scratch, f"slurm_job_{job_id}_resize.sh")))
    except SchedulerError as error:
        return refused(error.message, again=True)
    except OSError as error:
        return refused(f"no folder can be made in {folder}: {error.strerror}", again=True)
    return _refusal(done.said)


def _shrink(job_id: str, keep: Sequence[str], scratch: str) -> Completed:
    argv = ["scontrol", "update", f"JobId={job_id}", f"NodeList={compress(keep)}"]
    return run(argv, _TIMEOUT_S, cwd=Path(scratch))


def _still_there(job_id: str, keep: Sequence[str]) -> list[str]:
    """Those hosts that the job still has: Slurm takes one that has died from it, sooner than anybody here may know."""
    nodes = run(["squeue", "--noheader", "--format=%N", f"--jobs={job_id}"], _TIMEOUT_S).stdout.strip()
    has = run(["scontrol", "show", "hostnames", nodes], _TIMEOUT_S).stdout.split()
    return [host for host in keep if host in has] or list(keep)


def parse_resize(text: str) -> dict[str, str | None]:
    """The changes that Slurm's resize script makes: to those variables of the caller's that are stale."""
    changes: dict[str, str | None] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"export (\w+)=(.*)", line.strip()):
            changes[match[1]] = "".join(shlex.split(match[2]))
        elif match := re.fullmatch(r"unset (\w+)", line.strip()):
            changes[match[1]] = None
    return changes


def _environment(script: Path) -> dict[str, str | None]:
    try:
        return parse_resize(script.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _refusal(said: str) -> ReleaseOutcome:
    if _INDEX_NOT_SET in said:
        return _index_refusal()
    for words, (sentence, again) in _REFUSALS.items():
        if words in said:
            return refused(f"{sentence} ({said})", again=again)
    return refused(f"Slurm refused: {said}", again=False)


def once() -> bool:
    """A job changes its size once and then needs an index from the accounting database, if there is one."""
    try:
        answer = run(["scontrol", "show", "config"], _TIMEOUT_S)
    except SchedulerError:
        return False
    return answer.status == 0 and "slurmdbd" not in answer.stdout


def dead_too() -> bool:
    """With --no-kill, Slurm takes a node that died from the job by itself."""
    return False


def _index_refusal() -> ReleaseOutcome:
    if not once():
        return refused("Slurm's accounting has not recorded the job's last change yet", again=True)
    return refused("without slurmdbd, Slurm changes the size of a job only once", again=False)
