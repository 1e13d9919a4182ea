"""How a run function's process learns that its evaluation is to end early: it is never interrupted, it has to look.

Whoever runs evaluations raises a *flag*, which the process asks for at every report: for a slot it is a word in memory
that it shares with its agent (:class:`SharedFlag`), so that asking costs less than a microsecond. Another way of
running gives :func:`hpcsearch.worker.context.enter` an :class:`Ending` with a flag of its own: any function that
returns the state to end in, or None. Processes that the agent starts as programs of their own share a file on the node
(``SharedFlag(path)``). Of several ranks the first one alone has reports that count and a flag that is raised; its
answer has to reach the others in the same step (their flags wait for it), or some would stop while the rest wait for
them.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from hpcsearch.evaluation import State


class Stopped(BaseException):
    """Ends an evaluation early: its state becomes STOPPED, with the last value that it reported.

    :func:`hpcsearch.report` raises it with ``--stopping raise``; a run function may raise it itself.

    No ``Exception``, as KeyboardInterrupt is none: it passes through the ``except Exception`` that surrounds a training
    step which may fail, there and in libraries.
    """


#: The state in which the evaluation at hand is asked to end; None as long as it may go on.
StopFlag = Callable[[], State | None]

#: The states in which an evaluation can be asked to end, by their numbers in a shared word.
_STATES = (State.STOPPED, State.INTERRUPTED)

#: An evaluation is told of the end of its time so many seconds earlier, at most this share of the time that it has.
MARGIN_S, MARGIN_SHARE = 60.0, 0.1


def never() -> State | None:
    """The flag of an evaluation that nobody can stop."""
    return None


class SharedFlag:
    """A flag in memory that two processes of a node share; raised for one evaluation, it says nothing to the others.

    Args:
        path: a file that both can open, where one is not forked by the other; else anonymous memory.
    """

    def __init__(self, path: str = "") -> None:
        if path:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(fd, mmap.PAGESIZE)
            memory = mmap.mmap(fd, mmap.PAGESIZE)
            os.close(fd)
        else:
            memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._words = memoryview(memory).cast("q")  # one word is written and read at once

    def raise_for(self, evaluation: int, state: State) -> None:
        """Asks an evaluation to end in a state: STOPPED or INTERRUPTED."""
        self._words[0] = _word(evaluation, state)

    def lower_for(self, evaluation: int) -> None:
        """An evaluation is to begin: what may have been asked of an earlier attempt at it does not hold."""
        if self._words[0] // len(_STATES) == evaluation:
            self._words[0] = 0

    def of(self, evaluation: int) -> StopFlag:
        """What this evaluation asks."""
        words, asked = self._words, {_word(evaluation, state): state for state in _STATES}
        return lambda: asked.get(words[0])


def _word(evaluation: int, state: State) -> int:
    return evaluation * len(_STATES) + _STATES.index(state)


@dataclass(slots=True)
class Ending:
    """When and why the evaluation at hand is to end early, and whether it knows.

    Args:
        flag: asked every time.
        at_s: when its time comes to an end, on this host's monotonic clock.
        at_state: what it is then: TIMED_OUT, or INTERRUPTED by the walltime.
        raising: whether a report raises ``Stopped`` once a rule has decided.
    """

    flag: StopFlag = never
    at_s: float = math.inf
    at_state: State = State.INTERRUPTED
    raising: bool = False
    told: State | None = None  # what the run function was told

    def asked(self) -> bool:
        """Whether it is to end; from now on it knows."""
        state = self.flag()
        if state is None and time.monotonic() >= self.at_s:
            state = self.at_state
        if state is not None:
            self.told = state
        return state is not None

    def stopped(self) -> bool:
        """Whether a rule has decided; if so, from now on it knows."""
        if self.flag() is not State.STOPPED:
            return False
        self.told = State.STOPPED
        return True

    def raise_if_stopped(self) -> None:
        """Raises ``Stopped`` when a rule has decided, and that is how it is to be told."""
        if self.raising and self.stopped():
            raise Stopped("a stopping rule has ended this evaluation")


def ending(
    flag: StopFlag, walltime_ends_s: float, timeout_s: float | None, margin_s: float | None, raising: bool
) -> Ending:
    """The ending of an evaluation that begins now.

    Args:
        flag: asked every time.
        walltime_ends_s: the allocation's last moment, on this host's monotonic clock.
        timeout_s: the evaluation's own time limit.
        margin_s: how long before the end of its time it is told; None for what is usual.
        raising: whether a report raises ``Stopped``.
    """
    now_s = time.monotonic()
    left_s, state = walltime_ends_s - now_s, State.INTERRUPTED
    if timeout_s is not None and timeout_s < left_s:
        left_s, state = timeout_s, State.TIMED_OUT
    if margin_s is None:
        margin_s = min(MARGIN_S, MARGIN_SHARE * left_s) if math.isfinite(left_s) else 0.0
    return Ending(flag, now_s + left_s - margin_s, state, raising)
