"""Slurm's words for states and reasons, as sentences."""

from __future__ import annotations

import functools
import logging
import pwd
import re
from collections.abc import Mapping

from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause

_QUEUED, _RUNNING, _ENDED = AllocationState.QUEUED, AllocationState.RUNNING, AllocationState.ENDED

#: Slurm's state -> our state, why it ended, and a sentence.
STATES: Mapping[str, tuple[AllocationState, EndCause, str]] = {
    "PENDING": (_QUEUED, EndCause.NONE, "It waits."),
    "CONFIGURING": (_QUEUED, EndCause.NONE, "Its nodes are being made ready."),
    "REQUEUED": (_QUEUED, EndCause.NONE, "It was put back into the queue."),
    "REQUEUE_FED": (_QUEUED, EndCause.NONE, "It was put back into the queue."),
    "REQUEUE_HOLD": (_QUEUED, EndCause.NONE, "It was put back into the queue and is held there."),
    "RESV_DEL_HOLD": (_QUEUED, EndCause.NONE, "Its reservation is gone and it is held."),
    "SPECIAL_EXIT": (_QUEUED, EndCause.NONE, "It was put back into the queue and is held there."),
    "RUNNING": (_RUNNING, EndCause.NONE, "It runs."),
    "RESIZING": (_RUNNING, EndCause.NONE, "It runs and gives nodes back."),
    "SIGNALING": (_RUNNING, EndCause.NONE, "It runs and is being sent a signal."),
    "STOPPED": (_RUNNING, EndCause.NONE, "It is stopped and keeps its nodes."),
    "SUSPENDED": (_RUNNING, EndCause.NONE, "It is suspended."),
    "COMPLETING": (_RUNNING, EndCause.NONE, "It is ending."),
    "STAGE_OUT": (_RUNNING, EndCause.NONE, "It is copying files out."),
    "COMPLETED": (_ENDED, EndCause.DONE, "It ended by itself."),
    "FAILED": (_ENDED, EndCause.FAILED, "Its script ended with an error."),
    "LAUNCH_FAILED": (_ENDED, EndCause.FAILED, "Slurm could not start it."),
    "RECONFIG_FAIL": (_ENDED, EndCause.FAILED, "Slurm could not configure its nodes."),
    "TIMEOUT": (_ENDED, EndCause.WALLTIME, "Its walltime was over."),
    "DEADLINE": (_ENDED, EndCause.WALLTIME, "Its deadline was over."),
    "CANCELLED": (_ENDED, EndCause.CANCELLED, "It was cancelled."),
    "REVOKED": (_ENDED, EndCause.CANCELLED, "It was withdrawn in favour of one on another cluster."),
    "NODE_FAIL": (_ENDED, EndCause.NODE_FAILURE, "A node of it failed."),
    "BOOT_FAIL": (_ENDED, EndCause.NODE_FAILURE, "A node of it did not boot."),
    "OUT_OF_MEMORY": (_ENDED, EndCause.OUT_OF_MEMORY, "It ran out of memory."),
    "PREEMPTED": (_ENDED, EndCause.PREEMPTED, "It was ended in favour of another job."),
}

#: Why a job waits, as a sentence, where the word does not say it.
REASONS: Mapping[str, str] = {
    "None": "It waits for the scheduler to look at it.",
    "Priority": "It waits behind jobs of higher priority.",
    "Resources": "It is next, and waits for nodes to become free.",
    "Dependency": "It waits for an earlier allocation to end.",
    "DependencyNeverSatisfied": "It waits for an allocation that did not end as asked: it will never start.",
    "BeginTime": "It waits for its start time.",
    "JobHeldUser": "It is held by its user.",
    "JobHeldAdmin": "It is held by an administrator.",
    "Reservation": "It waits for its reservation to begin.",
    "ReqNodeNotAvail": "A node that it asks for is down, drained or reserved.",
    "PartitionDown": "The partition is down.",
    "PartitionInactive": "The partition takes jobs but starts none at present.",
    "PartitionConfig": "It asks for more time or nodes than the partition allows: it will never start.",
    "PartitionTimeLimit": "It asks for more time than the partition allows: it will never start.",
    "PartitionNodeLimit": "It asks for more nodes than the partition allows: it will never start.",
    "BadConstraints": "No node is as it asks for: it will never start.",
    "AccountNotAllowed": "The account may not use the partition: it will never start.",
    "QOSNotAllowed": "The QOS may not be used with the account or partition: it will never start.",
    "AssociationJobLimit": "The account has as many jobs as it may have.",
    "AssocMaxJobsLimit": "The account has as many jobs as it may have.",
    "AssocGrpCPUMinutesLimit": "The account's hours are used up.",
    "AssocGrpNodeLimit": "The account holds as many nodes as it may.",
    "QOSMaxJobsPerUserLimit": "The user has as many jobs in this QOS as one may have.",
    "QOSMaxNodePerUserLimit": "The user holds as many nodes in this QOS as one may.",
    "QOSMaxWallDurationPerJobLimit": "It asks for more time than the QOS allows: it will never start.",
    "QOSMaxNodePerJobLimit": "It asks for more nodes than the QOS allows: it will never start.",
    "Licenses": "It waits for a licence.",
    "FrontEndDown": "The machine's front end is down.",
    "NodeDown": "A node that it needs is down.",
    "Cleaning": "Its earlier run is still being cleaned up.",
    "launch failed requeued held": "Slurm could not start it and holds it: release or cancel it.",
}

NEVER = frozenset(word for word, sentence in REASONS.items() if sentence.endswith("it will never start."))


def status_of(word: str, reason: str = "None", time_left_s: int | None = None) -> AllocationStatus:
    """The status for Slurm's ``word`` (``CANCELLED by 1001`` too) and, while it waits, its ``reason``."""
    known = STATES.get(word.split(" ")[0].rstrip("+"))
    if known is None:
        _tell_once(word)
        return AllocationStatus(AllocationState.UNKNOWN, f"Slurm says {word!r}, which hpcsearch does not know.", word)
    state, cause, sentence = known
    if word == "PENDING":
        plain = reason.split(",")[0].strip("()")
        sentence = REASONS.get(plain, f"It waits ({plain}).")
        return AllocationStatus(state, sentence, word, cause, can_run=plain not in NEVER)
    if canceller := re.fullmatch(r"CANCELLED by (\d+)", word):
        sentence = f"It was cancelled by {_user(int(canceller[1]))}."
    return AllocationStatus(state, sentence, word, cause, time_left_s if state is _RUNNING else None)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


@functools.cache
def _tell_once(word: str) -> None:
    logging.getLogger(__name__).warning("Slurm's state %r is not known; it is shown as UNKNOWN", word)
