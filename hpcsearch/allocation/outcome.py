"""How a launch ended: what its ranks told, what its launcher's exit says, and whose verdict counts."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcsearch.allocation.executor import Ended
from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import State
from hpcsearch.program import Command, name_of
from hpcsearch.worker.result import result_of
from hpcsearch.worker.telling import FITTING

#: A launcher whose rank was killed by a signal exits with this and the signal's number.
_SIGNALLED = 128
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}


@dataclass
class Heard:
    """What has become known of an attempt while it was under way.

    Attributes:
        begun_at: when rank 0 had begun, seconds since 1970; None as long as it has not.
        present: whether rank 0's process was there, before MPI.
        verdict: the state in which the driver has ended it, if it has, and ``reason`` the failure that goes with it.
        end: what rank 0 told of its end.
        failure: what the first rank told that failed: its number, its host, why.
    """

    begun_at: float | None = None
    present: bool = False
    verdict: State | None = None
    reason: Mapping[str, str] | None = None
    end: list[Any] | None = None
    failure: tuple[int, str, Mapping[str, str]] | None = None


def end_of(
    heard: Heard, gone: Mapping[str, Any], command: Command | None, directory: str, limit_s: float | None
) -> Ended:
    """The end of one attempt.

    Args:
        heard: what was heard of it.
        gone: how its launcher ended, see ``desk.Gone``.
        command: the program that it was; None for a run function.
        directory: the evaluation's.
        limit_s: its time limit.
    """
    if heard.end is not None:  # it had ended by itself, whatever was about to be done about it
        state, started_at, ended_at, duration_s, objective, metadata, failure = heard.end
        return Ended(State(state), started_at, ended_at, duration_s, objective, metadata, failure)
    now = time.time()
    duration_s = None if heard.begun_at is None else now - heard.begun_at
    if _ended_well(heard, gone) and command is not None:
        try:
            result = result_of(command, directory, gone.get("announced"))
        except HpcsearchError as error:
            failure = {**_failure(type(error).__name__, error.message), "traceback": error.hint}
            return Ended(State.FAILED, heard.begun_at, now, duration_s, failure=failure)
        return Ended(State.FINISHED, heard.begun_at, now, duration_s, result.objective, result.metadata or None)
    state, failure, killed_by = _judged(heard, gone, command, limit_s)
    return Ended(state, heard.begun_at, now, duration_s, failure=failure, killed_by=killed_by)


def _ended_well(heard: Heard, gone: Mapping[str, Any]) -> bool:
    hindered = heard.verdict is not None or heard.failure is not None or gone.get("timed_out")
    return heard.begun_at is not None and not hindered and gone["status"] == 0


def _judged(
    heard: Heard, gone: Mapping[str, Any], command: Command | None, limit_s: float | None
) -> tuple[State, Mapping[str, str] | None, int | None]:
    """State, failure, and the signal that killed it, of one that has no objective: the first cause that is known."""
    if heard.verdict is not None:
        return heard.verdict, heard.reason, None
    if gone.get("timed_out"):
        limit = command.timeout if command is not None and command.timeout is not None else limit_s
        return State.TIMED_OUT, _failure("Timeout", f"it ran longer than its time limit of {limit:g} s"), None
    if heard.failure is not None:
        rank, host, failure = heard.failure
        return State.FAILED, {**failure, "message": f"rank {rank} on {host}: {failure['message']}"}, None
    if heard.begun_at is None and heard.present and not gone.get("never_began"):
        message = f"MPI could not be initialised: {_said(gone)}. The launcher may not fit the library. {FITTING}"
        return State.FAILED, _failure("MpiInitError", message), None
    if heard.begun_at is None:
        return State.LOST, _failure("LaunchError", f"its ranks did not begin: {_said(gone)}"), None
    killed_by = gone.get("killed_by") or _signal(gone["status"])
    if killed_by is not None:
        name = _SIGNAL_NAMES.get(killed_by, f"signal {killed_by}")
        return State.FAILED, _failure(name, f"a rank was killed by signal {killed_by} ({name})"), killed_by
    kind, what, before = ("ProcessExit", "its ranks", " before the run function returned")
    if command is not None:
        kind, what, before = "ProgramError", name_of(command), ""
    message = f"{what} ended with exit code {gone['status']}{before}: {_said(gone)}"
    return State.FAILED, _failure(kind, message), None


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
