"""PBS (OpenPBS and PBS Professional): submission, status and cancelling through its commands."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import query_cache
from hpcsearch.schedulers.base import AllocationState, AllocationStatus
from hpcsearch.schedulers.command import Completed, run
from hpcsearch.schedulers.pbs_words import status_of
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.model import Site

#: It would have qsub read another prefix than ``#PBS`` in the script.
_DROPPED_VARIABLES = ("PBS_DPREFIX",)

#: A client's exit status is the last byte of PBS's error number.
UNKNOWN_JOB, WRONG_STATE, FINISHED = 153, 168, 35

#: What qstat -x says, with exit status 0 and no job, where the server forgets jobs that have ended: the default.
_NO_HISTORY = "not configured to maintain job history"

#: qsub's exit status when it refuses -> what that means, and what to do about it.
REFUSALS: Mapping[int, tuple[str, str]] = {
    1: ("the job script is not what qsub takes", "Look at the site file's directives: each is one option of qsub."),
    2: ("an option of the job script is not what qsub takes", "Look at the site file's directives, and at the name."),
    3: ("the array is larger than the server allows", ""),
    5: ("it mixes -l select with older ways to ask for nodes", "Look at the site file's directives."),
    38: ("the queue holds as many of the user's jobs as it may", "Wait for one to end, or name another queue with -q."),
    154: ("an option of -W is unknown", "Look at the site file's directives."),
    159: ("this user may not submit to the queue", "Name another queue with -q, and an account of yours with -A."),
    160: ("PBS's server has no address that is known here", "Is this a login node? See PBS_SERVER and /etc/pbs.conf."),
    166: ("a resource has a value that it cannot have", "Look at the time (-t) and at the site file's directives."),
    170: ("there is no such queue", "`qstat -Q` lists the queues; -q names one."),
    173: ("the queue takes no jobs at present", "`qstat -Q` lists the queues; -q names one."),
    175: ("PBS does not run jobs of this user", "Submit as another user; root's jobs run where acl_roots names it."),
    183: ("PBS's server does not answer", "PBS is down or unreachable; try again later."),
    187: ("this machine has no such resource", "Look at the site file's chunk and directives."),
    188: (
        "it asks for more than the queue or the server allows",
        "`qstat -Qf` shows the limits: ask for fewer nodes (-n) or less time (-t), or name another queue (-q).",
    ),
    191: (
        "none of the queues that this one leads to takes it",
        "`qstat -Qf` shows their limits: ask for another number of nodes (-n) or another time (-t).",
    ),
    197: ("the group that it names is not the user's", "Look at the site file's directives."),
    198: ("the queue is full", "Wait for a job to end, or name another queue with -q."),
    201: ("the account is not one that PBS takes", "Name an account of yours with -A."),
}

_ID = re.compile(r"\d+(\[\d*\])?(\.[\w.-]+)?")

#: How long PBS's scheduler may take to look at a job that has arrived (seconds), and to let go of one that begins.
_LOOK_S = 1.0
_AGAIN_S = 2.0
_CANCEL_TRIES = 4

#: The states of a job that needs no deleting.
_ENDING = ("E", "F", "X")


def argv(request: AllocationRequest) -> tuple[str, ...]:
    return ("qsub", str(request.script))


def dropped_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that would change how qsub reads a script."""
    return tuple(name for name in _DROPPED_VARIABLES if name in environment)


def submission_environment(environment: Mapping[str, str]) -> dict[str, str]:
    dropped = dropped_variables(environment)
    return {name: value for name, value in environment.items() if name not in dropped}


def parse_submission(done: Completed) -> str:
    """The id that qsub gave, server and all; raises SchedulerError, as a sentence, when it refused."""
    lines = [line.strip() for line in done.stdout.splitlines() if _ID.fullmatch(line.strip())]
    if done.status == 0 and lines:
        return lines[-1]
    said = re.sub(r"(^|\s)qsub: ", r"\1", done.said.partition(" usage: ")[0]).strip()
    if done.status == 0:
        raise SchedulerError(f"qsub gave no id that can be understood: {said}")
    sentence, hint = REFUSALS.get(done.status, ("", ""))
    raise SchedulerError(f"PBS refused the allocation: {f'{sentence} ({said})' if sentence else said}", hint)


def check_dependency(identifier: str) -> None:
    """Raises SchedulerError when PBS does not know the allocation to wait for: whoever waits would end, unsaid."""
    if identifier not in _qstat([identifier]):
        raise SchedulerError(
            f"PBS knows no job {identifier}, after which this allocation was to start",
            "It has ended, and PBS has forgotten it: leave out --chain, or type 'hpcsearch resume'.",
        )


def status(site: Site, ids: Collection[str]) -> dict[str, AllocationStatus]:
    return query_cache.statuses(site, ids, query)


def first_look(site: Site, identifier: str) -> AllocationStatus:
    return query_cache.first_look(site, identifier, _query_after_a_look)


def query(ids: Collection[str]) -> dict[str, AllocationStatus]:
    """Every id's status, from one qstat that lists what has ended, too, where the server keeps that."""
    found = _qstat(ids)
    gone = AllocationStatus(AllocationState.ENDED, "PBS does not list it any more, and does not tell how it ended.")
    return {identifier: found.get(identifier, gone) for identifier in ids}


def _query_after_a_look(ids: Collection[str]) -> dict[str, AllocationStatus]:
    """``query``, once the scheduler has had the time to say of a new job that it can never run."""
    time.sleep(_LOOK_S)
    return query(ids)


def cancel(identifier: str) -> None:
    """Deletes a job; one that is just beginning cannot be deleted, so that it is tried again, unless it is ending."""
    for _ in range(_CANCEL_TRIES):
        done = run(["qdel", identifier])
        if done.status in (0, FINISHED, UNKNOWN_JOB) or (done.status == WRONG_STATE and _is_ending(identifier)):
            return
        if done.status != WRONG_STATE:
            break
        time.sleep(_AGAIN_S)
    raise SchedulerError(f"PBS did not cancel {identifier}: {done.said}")


def _is_ending(identifier: str) -> bool:
    try:
        status = _qstat([identifier]).get(identifier)
    except SchedulerError:
        return False
    return status is None or status.word in _ENDING


def _qstat(ids: Collection[str]) -> dict[str, AllocationStatus]:
    done = run(["qstat", "-x", "-f", "-F", "json", *ids])
    if _NO_HISTORY in done.stderr:
        done = run(["qstat", "-f", "-F", "json", *ids])
    if done.status not in (0, UNKNOWN_JOB):
        raise SchedulerError(f"qstat gave no answer: {done.said}", "PBS is busy or down; try again later.")
    jobs = parse_qstat(done.stdout)
    # A server may be known by more than one name
    by_number = {_number(key): job for key, job in jobs.items()}
    wanted = {identifier: jobs.get(identifier, by_number.get(_number(identifier))) for identifier in ids}
    return {identifier: status_of(job) for identifier, job in wanted.items() if job is not None}


def _number(identifier: str) -> str:
    return identifier.partition(".")[0]


def parse_qstat(text: str) -> dict[str, Mapping[str, Any]]:
    """Id -> the job, from ``qstat -f -F json``; no job is listed where none is known. Raises SchedulerError.

    Some versions write a job's variables so that the whole is no JSON any more; then it is read without them.
    """
    for part in (text, _VARIABLES.sub("", text)):
        try:
            jobs = json.loads(part, strict=False).get("Jobs", {})
            return {key: job for key, job in jobs.items() if isinstance(job, dict)}
        except (ValueError, AttributeError):
            continue
    raise SchedulerError(f"qstat gave an answer that is no JSON: {text[:200]!r}", "Type 'qstat -x -f -F json'.")


_VARIABLES = re.compile(r'^(\t*)"Variable_List":\t?\{\n.*?^\1\},?\n', re.MULTILINE | re.DOTALL)
