"""Gives nodes of a running PBS job back: ``pbs_release_nodes -j <job> <what leaves>``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.release import ReleaseOutcome, refused

_TIMEOUT_S = 60.0

#: The exit status of pbs_release_nodes -> why it refused, and whether a later try may succeed.
_REFUSALS: Mapping[int, tuple[str, bool]] = {
    35: ("the job has ended", False),
    153: ("PBS knows no such job any more", False),
    159: ("PBS does not permit this user to change the job", False),
    162: (
        "PBS cannot take these nodes from the job: its first node always stays, and it must have had the rest",
        False,
    ),
    168: ("the job has only just begun", True),
    183: ("PBS's server does not answer", True),
}


def once() -> bool:
    """Nodes can be given back one after the other."""
    return False


def release(job_id: str, keep: Sequence[str], leave: Sequence[str], folder: Path) -> ReleaseOutcome:
    """Takes the hosts ``leave``, whole, from the job, whose node file PBS shortens; its first host must be kept.

    Hosts that the job does not have (any more) are passed over. Every refusal is an outcome; nothing is raised for it.
    """
    if not keep:
        return refused("a job cannot give back all its nodes")
    try:
        done = run(["pbs_release_nodes", "-j", job_id, *leave], _TIMEOUT_S)
    except SchedulerError as error:
        return refused(error.message, again=True)
    if done.status == 0:
        return ReleaseOutcome(True)
    sentence, again = _REFUSALS.get(done.status, ("PBS refused", False))
    return refused(f"{sentence} ({done.said})", again=again)
