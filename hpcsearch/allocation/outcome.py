"""How a launch ended: what its ranks told, what its launcher's exit says, and whose verdict counts."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

from hpcsearch.allocation.executor import Ended
from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import State
from hpcsearch.program import Command, name_of, result_of
from hpcsearch.worker.telling import FITTING

#: A launcher whose rank was killed by a signal exits with this and the signal's number.
_SIGNALLED = 128
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}

Told = tuple[int, str, Mapping[str, str]]


def end_of(
    *,
    begun_at: float | None,
    present: bool,
    verdict: State | None,
    reason: Mapping[str, str] | None,
    told_end: list[Any] | None,
    told_failure: Told | None,
    gone: Mapping[str, Any],
    command: Command | None,
    directory: str,
    limit_s: float | None,
) -> Ended:
    """The end of one attempt.

    Args:
        begun_at: when rank 0 had begun, seconds since 1970; None if it never had.
        present: whether its process had been there at all.
        verdict: the state in which the driver has ended it, if it has.
        reason: the failure that goes with that.
        told_end: what rank 0 told of its end.
        told_failure: what the first rank told that failed: its number, its host, why.
        gone: see ``desk.Gone``.
        command: the program that it was; None for a run function.
        directory: the evaluation's.
        limit_s: its time limit.
    """
    now = time.time()
    duration_s = None if begun_at is None else now - begun_at

    def ended(state: State, failure: Mapping[str, str] | None = None, killed_by: int | None = None) -> Ended:
        return Ended(state, begun_at, now, duration_s, failure=failure, killed_by=killed_by)

    if told_end is not None:  # it had ended by itself, whatever was about to be done about it
        state, started_at, ended_at, told_s, objective, metadata, failure = told_end
        return Ended(State(state), started_at, ended_at, told_s, objective, metadata, failure)
    if verdict is not None:
        return ended(verdict, reason)
    if gone.get("timed_out"):
        limit = command.timeout if command is not None and command.timeout is not None else limit_s
        return ended(State.TIMED_OUT, _failure("Timeout", f"it ran longer than its time limit of {limit:g} s"))
    if told_failure is not None:
        rank, host, failure = told_failure
        return ended(State.FAILED, {**failure, "message": f"rank {rank} on {host}: {failure['message']}"})
    if begun_at is None and present and not gone.get("never_began"):
        message = f"MPI could not be initialised: {_said(gone)}. The launcher may not fit the library. {FITTING}"
        return ended(State.FAILED, _failure("MpiInitError", message))
    if begun_at is None:
        return ended(State.LOST, _failure("LaunchError", f"its ranks did not begin: {_said(gone)}"))
    if command is not None and gone["status"] == 0:
        return _of_program(command, directory, gone, begun_at, now)
    killed_by = gone.get("killed_by") or _signal(gone["status"])
    if killed_by is not None:
        name = _SIGNAL_NAMES.get(killed_by, f"signal {killed_by}")
        return ended(State.FAILED, _failure(name, f"a rank was killed by signal {killed_by} ({name})"), killed_by)
    what = "its ranks" if command is None else name_of(command)
    before = " before the run function returned" if command is None else ""
    message = f"{what} ended with exit code {gone['status']}{before}: {_said(gone)}"
    return ended(State.FAILED, _failure("ProcessExit" if command is None else "ProgramError", message))


def _of_program(command: Command, directory: str, gone: Mapping[str, Any], begun_at: float, now: float) -> Ended:
    try:
        result = result_of(command, directory, gone.get("announced"))
    except HpcsearchError as error:
        failure = {**_failure(type(error).__name__, error.message), "traceback": error.hint}
        return Ended(State.FAILED, begun_at, now, now - begun_at, failure=failure)
    return Ended(State.FINISHED, begun_at, now, now - begun_at, result.objective, result.metadata or None)


def _signal(status: int) -> int | None:
    """The signal by which a rank, or the launcher itself, was killed."""
    number = -status if status < 0 else status - _SIGNALLED
    return number if number in _SIGNAL_NAMES else None


def _said(gone: Mapping[str, Any]) -> str:
    if gone.get("never_began"):
        return "they were waited for in vain"
    lines: list[str] = gone["last_lines"]
    return lines[-1] if lines else f"the launcher ended with exit code {gone['status']} and said nothing"


def _failure(kind: str, message: str) -> dict[str, str]:
    return {"kind": kind, "message": message, "traceback": ""}
