"""Why an evaluation ended as it did: a table of causes, found by the state and the kind of error that were recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hpcsearch.evaluation import END_STATES, State
from hpcsearch.monitor import text
from hpcsearch.monitor.detail import Attempt, Detail, read_detail
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.monitor.why import Why, as_sentence
from hpcsearch.workflow.layout import Layout

_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Cause:
    """What one kind of error means; the sentence may name ``message``, ``kind`` and ``where`` (the user's frame)."""

    sentence: str
    todo: str = ""


_LOG = "See what it printed with 'hpcsearch logs {workflow} {id}'."
_CRASH = Cause(
    "Its process crashed: {message}, which is a fault in compiled code (a library, an extension) and no Python error.",
    "Set PYTHONFAULTHANDLER=1 where you submit to get a traceback of such crashes in its log. " + _LOG,
)
_MEMORY = "Run fewer evaluations on a node at once (resume with a smaller --evals-per-node), or let each use less."
_TOLD = Cause(
    "Its process was ended from outside: {message}, and the allocation went on.",
    "Look for what sends signals: the run function's own children, a script that kills by name, or an administrator. "
    + _LOG,
)

#: Kind of error -> what it means. Exceptions that are not here were raised by the run function: ``_RAISED``.
CAUSES: Mapping[str, Cause] = {
    "Timeout": Cause(
        "It took too long: {message}.",
        "Give more time with 'hpcsearch resume {workflow} --eval-timeout SECONDS', or let it stop earlier.",
    ),
    "NodeLost": Cause(
        "Its node went away while it ran: {message}.",
        "Nothing is wrong with the evaluation. 'hpcsearch status {workflow} --nodes' has the nodes; where the same one "
        "is lost again and again, tell the machine's administrators.",
    ),
    "SlotEnded": Cause(
        "It was cut off for no fault of its own: {message}.",
        "Look at the evaluation that ran before it in the same slot.",
    ),
    "OutOfMemory": Cause("The node ran out of memory: {message}.", _MEMORY),
    "MemoryError": Cause("There was not enough memory for it: MemoryError{where}.", _MEMORY),
    "OutOfMemoryError": Cause(
        "Its GPU ran out of memory: {message}{where}.",
        "Let it use less (a smaller batch), or give each evaluation a whole GPU with a smaller --evals-per-node.",
    ),
    "SIGKILL": Cause(
        "Its process was killed: {message}, and the node's kernel has not said that memory was short.",
        "Often a limit on memory of its own (a container, a cgroup) is behind it. " + _MEMORY,
    ),
    "SIGTERM": _TOLD,
    "SIGINT": _TOLD,
    "SIGHUP": _TOLD,
    "SIGSEGV": _CRASH,
    "SIGBUS": _CRASH,
    "SIGFPE": _CRASH,
    "SIGABRT": _CRASH,
    "SIGILL": Cause(
        "Its process came to an instruction that its node's processor does not have: {message}.",
        "Some library was built for another kind of processor than that of the compute nodes: install it there, or "
        "from a build for all.",
    ),
    "SIGXCPU": Cause(
        "Its process used more CPU time than allowed: {message}.", "See 'ulimit -t' in the allocation's job script."
    ),
    "SIGXFSZ": Cause(
        "Its process wrote a file larger than allowed: {message}.", "See 'ulimit -f' in the allocation's job script."
    ),
    "ProcessExit": Cause(
        "Its process ended by itself: {message}.",
        "Something in it calls os._exit, or a library ends the process on an error, as MPI_Abort does. " + _LOG,
    ),
    "SystemExit": Cause(
        "It left the run function without a result: {message}{where}.",
        "Return the objective instead, or raise an exception.",
    ),
    "BadResultError": Cause(
        "What it returned is no objective: {message}.",
        "Return a finite number, or a dict with the number under 'objective'. For configurations that are no good "
        "raise an exception: the search learns from that, too.",
    ),
    "ModuleNotFoundError": Cause(
        "Something is not installed where it ran: {message}{where}.",
        "Install it into the environment that the allocation uses; 'hpcsearch doctor' shows which that is.",
    ),
    "FileNotFoundError": Cause(
        "A file is not there: {message}{where}.",
        "Evaluations run in the folder of the submission; give whole paths, on a file system that the nodes see.",
    ),
    "PermissionError": Cause(
        "A file may not be used: {message}{where}.", "Check its permissions, and that the nodes see the same files."
    ),
}
_SIGNAL = Cause("Its process was ended by a signal: {message}.", _LOG)
_RAISED = Cause(
    "The run function raised {kind}: {message}{where}.",
    "'hpcsearch show {workflow} {id}' has its configuration and the whole traceback; what is mended is tried with "
    "'hpcsearch resume {workflow}'.",
)
_UNTOLD = Cause("It ended as {state}, and nothing was recorded of why.", _LOG)

_STOPPED = Cause("A stopping rule ended it early: what it reported was not promising.")
_INTERRUPTED = Cause(
    "The allocation ended while it ran: it was cut off, which is no failure and does not count as a try.",
    "It runs again with the next allocation: 'hpcsearch resume {workflow}'. A run function that keeps checkpoints goes "
    "on from them with --resumable.",
)
#: Ends that need no error.
_BY_STATE: Mapping[State, Cause] = {State.STOPPED: _STOPPED, State.INTERRUPTED: _INTERRUPTED}


def cause_of(state: State, kind: str | None) -> Cause:
    """What an attempt's end means."""
    if kind is None:
        return _BY_STATE.get(state, _UNTOLD)
    if kind not in CAUSES and kind.startswith(("SIG", "signal ")):
        return _SIGNAL
    return CAUSES.get(kind, _RAISED)


def last_frame(traceback: str) -> str:
    """`` in train (model.py, line 20)``: where in the user's code an exception came up; empty where that is unknown."""
    frames = list(_FRAME.finditer(traceback))
    if not frames:
        return ""
    found = frames[-1]
    return f", in {found['function']} ({found['file']}, line {found['line']})"


def explain(layout: Layout, identity: int) -> Why:
    """Raises NotFoundError when there is no such evaluation, and DatabaseError."""
    detail = read_detail(layout, identity)
    settings = take_snapshot(layout, heard={}).settings
    bad = [one for one in detail.attempts if _went_wrong(one)]
    if not bad:
        return _UNTROUBLED.get(detail.record.state, _undecided)(detail)
    last = bad[-1]
    words = _words(detail, last)
    cause = cause_of(last.state, last.error_kind)
    then = (*_attempts(detail, last), _final(detail, last, settings.get("max_attempts"), settings.get("retry_failed")))
    todo = "" if detail.record.state is State.FINISHED else cause.todo.format(**words)
    return Why(as_sentence(cause.sentence.format(**words)), tuple(filter(None, then)), todo)


def _went_wrong(one: Attempt) -> bool:
    return one.error_kind is not None or one.state not in (State.RUNNING, State.FINISHED, State.PROPOSED)


def _words(detail: Detail, attempt: Attempt) -> dict[str, object]:
    failure = detail.record.failure
    latest = attempt.number == detail.attempts[-1].number
    traceback = failure.traceback if failure is not None and latest else ""
    return {
        "workflow": detail.typed,
        "id": detail.record.id,
        "state": attempt.state.value,
        "kind": attempt.error_kind or "",
        "message": (attempt.error_message or "no message").strip().rstrip("."),
        "where": last_frame(traceback),
    }


_HOW: Mapping[State, str] = {
    State.FAILED: "failed",
    State.TIMED_OUT: "was ended for taking too long",
    State.LOST: "was lost",
    State.STOPPED: "was stopped",
    State.INTERRUPTED: "was interrupted by the allocation's end",
    State.CANCELLED: "was cancelled",
    State.RUNNING: "runs",
    State.FINISHED: "finished",
}


def _attempts(detail: Detail, explained: Attempt) -> Iterator[str]:
    """What happened on each attempt, the one that the cause is about among them."""
    for one in detail.attempts:
        at = one.started_at if one.state is State.RUNNING else one.ended_at
        when = f" {'since' if one.state is State.RUNNING else 'at'} {text.local_time(at)}" if at is not None else ""
        how = _HOW.get(one.state, one.state.value)
        said = f" ({one.error_kind})" if one.error_kind and one is not explained else ""
        where = f"nodes {one.nodes.replace(',', ', ')}" if one.nodes else f"node {one.node}"
        yield f"Attempt {one.number}, on {where} in allocation {one.allocation}, {how}{said}{when}."


def _final(detail: Detail, last: Attempt, most: int | None, retried: bool | None) -> str:
    """Whether it is tried again."""
    record = detail.record
    if record.state is State.FINISHED:
        return f"In the end it finished, with objective {text.number(record.objective)}."
    if record.state is State.RUNNING:
        return "It is being tried again now."
    if record.state in (State.PROPOSED, State.INTERRUPTED):
        return "It waits to be tried again."
    if record.state not in END_STATES or record.state is State.STOPPED:
        return ""
    if record.state is State.FAILED and not retried:
        return "That is final: what fails is tried again with --retry-failed alone."
    if record.state is State.TIMED_OUT:
        return "That is final: what takes too long once does so again."
    return f"That is final: it may be tried {most} times." if most else "That is final."


def _finished(detail: Detail) -> Why:
    return Why(
        f"Nothing went wrong: evaluation {detail.record.id} finished, with objective "
        f"{text.number(detail.record.objective)}."
    )


def _runs(detail: Detail) -> Why:
    record = detail.record
    since = text.local_time(record.started_at)
    return Why(
        f"Nothing has gone wrong: evaluation {record.id} runs on node {record.node} since {since}.",
        todo=f"Watch what it prints with 'hpcsearch logs {detail.typed} {record.id} -f'.",
    )


def _waits(detail: Detail) -> Why:
    return Why(
        f"Evaluation {detail.record.id} has not begun: it waits for a slot.",
        todo=f"Why nothing runs, if nothing does, is told by 'hpcsearch why {detail.typed}'.",
    )


def _cancelled(detail: Detail) -> Why:
    return Why(f"Evaluation {detail.record.id} was taken back before it began: the budget was lowered.")


def _undecided(detail: Detail) -> Why:
    return Why(as_sentence(_UNTOLD.sentence.format(state=detail.record.state.value)))


#: Evaluations of which no attempt went wrong.
_UNTROUBLED: Mapping[State, Callable[[Detail], Why]] = {
    State.FINISHED: _finished,
    State.RUNNING: _runs,
    State.PROPOSED: _waits,
    State.CANCELLED: _cancelled,
}
