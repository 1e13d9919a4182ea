"""Calling the run function for one configuration: whatever comes of it is told, and not died of."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from hpcsearch.evaluation import Failure, State
from hpcsearch.reference import text_of
from hpcsearch.runfunction import failure_from, normalise
from hpcsearch.worker.stopping import Ending, Stopped

#: Raised where an evaluation is a program; to import it for its class would cost each rank of a launch 3 ms.
_TIMEOUT = "ProgramTimeout"


def evaluate(run: Callable[[dict[str, Any]], Any], configuration: dict[str, Any], stop: Ending) -> list[Any]:
    """State, start and end (seconds since 1970), duration in seconds, objective, metadata, failure."""
    objective = metadata = failure = None
    state = State.FINISHED
    slot_pid, exit_code = os.getpid(), 0
    started_at = time.time()
    started_s = time.perf_counter()
    try:
        result = normalise(run(configuration))
        objective, metadata = result.objective, result.metadata or None
        if stop.told is State.STOPPED:
            state = State.STOPPED  # what it returned then is of a part of the evaluation
    except Stopped as stopped:
        state = stop.told or State.STOPPED
        failure = Failure("Stopped", text_of(stopped))
    except SystemExit as exit_:
        failure = Failure("SystemExit", f"the run function called sys.exit({exit_.code!r})")
        exit_code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        state = State.FAILED
    except BaseException as error:  # noqa: BLE001 - whatever ends an evaluation is told, and not died of
        failure = failure_from(error)
        exit_code = 1
        state = State.TIMED_OUT if type(error).__name__ == _TIMEOUT else State.FAILED
    duration_s = time.perf_counter() - started_s
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the run function may have closed or replaced it
            stream.flush()
    if os.getpid() != slot_pid:  # a child that the run function forked has come back out of it: it is no slot
        os._exit(exit_code & 255)
    return [
        state.value,
        started_at,
        started_at + duration_s,
        duration_s,
        objective,
        metadata,
        None if failure is None else asdict(failure),
    ]
