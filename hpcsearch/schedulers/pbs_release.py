"""Gives nodes of a running PBS job back: ``pbs_release_nodes -j <job> <what leaves>``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.pbs import parse_qstat
from hpcsearch.schedulers.release import ReleaseOutcome, refused

_TIMEOUT_S = 60.0

#: The exit status for nodes that are not the job's, or not by these names.
_NOT_THESE = 162

#: The exit status of pbs_release_nodes -> why it refused, and whether a later try may succeed.
_REFUSALS: Mapping[int, tuple[str, bool]] = {
    35: ("the job has ended", False),
    153: ("PBS knows no such job any more", False),
    159: ("PBS does not permit this user to change the job", False),
    _NOT_THESE: (
        "PBS cannot take these nodes from the job: its first node always stays, and it must have had the rest",
        False,
    ),
    168: ("the job has only just begun", True),
    183: ("PBS's server does not answer", True),
}


def once() -> bool:
    """Nodes can be given back one after the other."""
    return False


def dead_too() -> bool:
    """A job is ended when one of its nodes has not answered for five minutes ($max_poll_downtime)."""
    return True


def release(job_id: str, keep: Sequence[str], leave: Sequence[str], folder: Path) -> ReleaseOutcome:
    """Takes the hosts ``leave``, whole, from the job, whose node file PBS shortens; its first host must be kept.

    Hosts that the job does not have (any more) are passed over. Every refusal is an outcome; nothing is raised for it.
    """
    if not keep:
        return refused("a job cannot give back all its nodes")
    try:
        done = run(["pbs_release_nodes", "-j", job_id, *leave], _TIMEOUT_S)
        if done.status == _NOT_THESE and (vnodes := _vnodes(job_id, leave)) not in ([], list(leave)):
            done = run(["pbs_release_nodes", "-j", job_id, *vnodes], _TIMEOUT_S)
    except SchedulerError as error:
        return refused(error.message, again=True)
    if done.status == 0:
        return ReleaseOutcome(True)
    sentence, again = _REFUSALS.get(done.status, ("PBS refused", False))
    return refused(f"{sentence} ({done.said})", again=again)


def _vnodes(job_id: str, hosts: Sequence[str]) -> list[str]:
    """The job's nodes on some hosts, by the names that PBS has for them, which may not be those in the node file.

    There are none where PBS does not tell.
    """
    try:
        told = parse_qstat(run(["qstat", "-f", "-F", "json", job_id], _TIMEOUT_S).stdout)
    except SchedulerError:
        return []
    job = next(iter(told.values()), {})
    wanted = {_short(host) for host in hosts}
    places = str(job.get("exec_host", "")).split("+")  # n2/0*8, for each chunk
    chunks = re.findall(r"\((.*?)\)", str(job.get("exec_vnode", "")))  # n2[0]:ncpus=4+n2[1]:ncpus=4, for each chunk
    if len(places) != len(chunks):
        return []
    leaving = [chunk for place, chunk in zip(places, chunks, strict=True) if _short(place.partition("/")[0]) in wanted]
    return list(dict.fromkeys(part.partition(":")[0] for chunk in leaving for part in chunk.split("+")))


def _short(host: str) -> str:
    return host.partition(".")[0]
