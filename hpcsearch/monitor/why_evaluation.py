"""Why an evaluation ended as it did, what happened to it then, and what to do: from what was recorded of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from hpcsearch.evaluation import END_STATES, State
from hpcsearch.monitor import text
from hpcsearch.monitor.causes import UNTOLD, cause_of
from hpcsearch.monitor.detail import Attempt, Detail, read_detail
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.monitor.why import Why, as_sentence
from hpcsearch.workflow.layout import Layout

_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)


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
    return Why(as_sentence(UNTOLD.sentence.format(state=detail.record.state.value)))


#: Evaluations of which no attempt went wrong.
_UNTROUBLED: Mapping[State, Callable[[Detail], Why]] = {
    State.FINISHED: _finished,
    State.RUNNING: _runs,
    State.PROPOSED: _waits,
    State.CANCELLED: _cancelled,
}
