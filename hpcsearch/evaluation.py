"""Evaluations: their states, what they ask for, and what comes back.

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Configuration = dict[str, Any]


class State(enum.StrEnum):
    """Where an evaluation, or one attempt at it, stands."""

    PROPOSED = "PROPOSED"  # asked of the search, counted in the budget, not started
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"  # an objective came back
    FAILED = "FAILED"  # the run function raised, returned no objective, or its process died
    TIMED_OUT = "TIMED_OUT"  # longer than --eval-timeout
    STOPPED = "STOPPED"  # ended early by a stopping rule
    LOST = "LOST"  # its node went away
    INTERRUPTED = "INTERRUPTED"  # the allocation ended first
    CANCELLED = "CANCELLED"  # somebody took it back


_S = State

#: Every change of state that may be recorded. LOST, INTERRUPTED and FAILED go back to PROPOSED for another attempt.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    _S.PROPOSED: frozenset({_S.RUNNING, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.FINISHED, _S.FAILED, _S.TIMED_OUT, _S.STOPPED, _S.LOST, _S.INTERRUPTED, _S.CANCELLED}),
    _S.FAILED: frozenset({_S.PROPOSED}),
    _S.LOST: frozenset({_S.PROPOSED}),
    _S.INTERRUPTED: frozenset({_S.PROPOSED, _S.CANCELLED}),
    _S.FINISHED: frozenset(),
    _S.TIMED_OUT: frozenset(),
    _S.STOPPED: frozenset(),
    _S.CANCELLED: frozenset(),
}

#: States in which an evaluation stays, once no further attempt is due.
END_STATES = frozenset({_S.FINISHED, _S.FAILED, _S.TIMED_OUT, _S.STOPPED, _S.LOST, _S.CANCELLED})

#: Attempts that ended so count towards an evaluation's budget of attempts; an interruption never does.
COUNTED_STATES = frozenset({_S.FAILED, _S.LOST})


def check_transition(old: State, new: State) -> None:
    """Raises ValueError when an evaluation may not go from ``old`` to ``new``."""
    if new not in TRANSITIONS[old]:
        raise ValueError(f"an evaluation cannot go from {old} to {new}")


@dataclass(frozen=True)
class Resources:
    """What one evaluation needs: ``nodes`` x ``ranks_per_node`` processes, each with cores, GPUs and memory.

    ``cores`` is per rank; 0 means an even share of the node. ``memory_mb`` is per node; 0 means no demand.
    """

    nodes: int = 1
    ranks_per_node: int = 1
    cores: int = 0
    gpus: int = 0
    memory_mb: int = 0


@dataclass(frozen=True)
class Failure:
    """Why an attempt gave no objective: the kind of error, one sentence, and the user's own traceback lines."""

    kind: str
    message: str
    traceback: str = ""


#: In the metadata of an evaluation that was run for its own sake: its objective says nothing.
NO_METRIC = "no_metric"


@dataclass(frozen=True)
class Result:
    """What a run function returned: its objective and whatever else it wants kept."""

    objective: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Evaluation:
    """One configuration to be run, and how often it has been tried (``attempt`` counts from 1 while running)."""

    id: int
    configuration: Configuration
    attempt: int = 0
    failures: int = 0  # attempts that count: FAILED and LOST
    resources: Resources = Resources()
    program: Mapping[str, Any] | None = None  # the command to launch, where the run function gives one
