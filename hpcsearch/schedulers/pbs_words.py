"""PBS's letters, exit statuses and comments, as sentences."""

from __future__ import annotations

import functools
import logging
import re
import signal
from collections.abc import Mapping
from typing import Any

from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause
from hpcsearch.sites.duration import parse_duration

_QUEUED, _RUNNING, _ENDED, _UNKNOWN = (
    AllocationState.QUEUED,
    AllocationState.RUNNING,
    AllocationState.ENDED,
    AllocationState.UNKNOWN,
)

#: PBS's state -> our state, and a sentence.
STATES: Mapping[str, tuple[AllocationState, str]] = {
    "Q": (_QUEUED, "It waits for the scheduler to look at it."),
    "H": (_QUEUED, "It is held."),
    "W": (_QUEUED, "It waits for its start time."),
    "T": (_QUEUED, "It is on its way to another queue."),
    "R": (_RUNNING, "It runs."),
    "B": (_RUNNING, "It is an array, and has begun."),
    "E": (_RUNNING, "It is ending."),
    "S": (_RUNNING, "It is suspended."),
    "U": (_RUNNING, "It is suspended, for somebody works at its machine."),
    "F": (_ENDED, "It ended."),
    "X": (_ENDED, "It ended."),
    "M": (_UNKNOWN, "It was moved to another server, which alone knows how it stands."),
}

#: Who holds a job, by the letter in Hold_Types.
HOLDS: Mapping[str, str] = {
    "s": "It is held by PBS.",
    "o": "It is held by an operator.",
    "u": "It is held by its user: qrls lets it go.",
    "p": "It is held because a password was wrong.",
}

_DEPENDS = "It waits for an earlier allocation to end."
_DEPENDENCY_FAILED = "It never started: what it was to follow did not end as asked, or is not known."

#: The negative exit statuses, which PBS gives when it could not run a job or ended it.
ENDS: Mapping[int, tuple[EndCause, str]] = {
    -29: (EndCause.WALLTIME, "Its walltime was over."),
    -28: (EndCause.FAILED, "It used more CPU time than it had asked for."),
    -27: (EndCause.OUT_OF_MEMORY, "It used more memory than it had asked for."),
    -26: (EndCause.OUT_OF_MEMORY, "It used more virtual memory than it had asked for."),
    -25: (EndCause.FAILED, "It used more CPUs than it had asked for."),
    -24: (EndCause.FAILED, "It used more CPUs than it had asked for."),
    -20: (EndCause.NODE_FAILURE, "Its first node failed."),
    -14: (EndCause.NODE_FAILURE, "A node of it failed."),
    -11: (EndCause.PREEMPTED, "It was ended to be put back into the queue."),
    -10: (EndCause.FAILED, "PBS does not know its user on its nodes."),
}
_NO_SHELL = 254  # the login shell, or what was to be run, is not there
_SIGNALLED = 256  # and the number of the signal

#: PBS's own note on how a job ended.
_DELETED, _FAILED = 91, 93

_NEVER = "Can Never Run"
_WAITS = "Not Running: "


def status_of(job: Mapping[str, Any]) -> AllocationStatus:
    """The status for a job as ``qstat -f -F json`` describes it; a key or value that is not there is not missed."""
    word = str(job.get("job_state", "?"))
    if word not in STATES:
        _tell_once(word)
        return AllocationStatus(_UNKNOWN, f"PBS says {word!r}, which hpcsearch does not know.", word)
    state, sentence = STATES[word]
    comment = str(job.get("comment", ""))
    if state is _QUEUED:
        return AllocationStatus(state, _waiting(job, comment, sentence), word, can_run=not comment.startswith(_NEVER))
    if state is _ENDED:
        cause, sentence = _end(job, comment)
        return AllocationStatus(state, sentence, word, cause)
    return AllocationStatus(state, sentence, word, time_left_s=_time_left_s(job) if state is _RUNNING else None)


def _waiting(job: Mapping[str, Any], comment: str, sentence: str) -> str:
    if comment.startswith(_NEVER):
        return f"It asks for what there is not ({comment.removeprefix(_NEVER).strip(': .')}): it will never start."
    if comment:
        return f"It waits ({comment.removeprefix(_WAITS).strip(' .')})."
    hold = str(job.get("Hold_Types", "n"))
    if job.get("job_state") == "H":
        return _DEPENDS if "s" in hold and job.get("depend") else HOLDS.get(hold[:1], sentence)
    return sentence


def _end(job: Mapping[str, Any], comment: str) -> tuple[EndCause, str]:
    status, note = job.get("Exit_status"), job.get("substate")
    by_whom = re.search(r"terminated by (\S+)", comment)
    if (by_whom or note == _DELETED) and status not in ENDS:
        return EndCause.CANCELLED, f"It was cancelled by {by_whom[1]}." if by_whom else "It was cancelled."
    if not isinstance(status, int):
        if job.get("depend"):
            return EndCause.FAILED, _DEPENDENCY_FAILED
        return EndCause.NONE, f"It ended before it began{f' ({comment})' if comment else ''}."
    return _exit(status, failed=note == _FAILED)


def _exit(status: int, *, failed: bool) -> tuple[EndCause, str]:
    if status in ENDS:
        return ENDS[status]
    if status < 0:
        return EndCause.FAILED, f"PBS could not run it (exit status {status})."
    if status >= _SIGNALLED:
        return _signalled(status - _SIGNALLED)
    if status == _NO_SHELL and failed:
        return EndCause.FAILED, "PBS could not start its script: the shell in its first line may not be there."
    if status:
        return EndCause.FAILED, f"Its script ended with exit status {status}."
    return EndCause.DONE, "It ended by itself."


def _signalled(number: int) -> tuple[EndCause, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGTERM:  # what qdel sends first
        return EndCause.CANCELLED, f"It was told to end ({name})."
    return EndCause.FAILED, f"It was ended by {name}."


def _time_left_s(job: Mapping[str, Any]) -> int | None:
    """Seconds of its walltime that are left, by what it has used when its node last told."""
    try:
        asked, used = job["Resource_List"]["walltime"], job.get("resources_used", {}).get("walltime", "0:00:00")
        return max(0, parse_duration(str(asked)) - parse_duration(str(used)))
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


@functools.cache
def _tell_once(word: str) -> None:
    logging.getLogger(__name__).warning("PBS's state %r is not known; it is shown as UNKNOWN", word)
