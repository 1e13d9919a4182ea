"""What driver and agent say to each other, as JSON lines.

The driver sends objects ``{"op": ..., ...}``; the agent sends lists of events, each a list that begins with its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: An agent that has nothing to say says so this often (seconds); a driver that hears nothing much longer gives it up.
BEAT_S = 5.0

#: An agent that has heard nothing for so long (seconds) ends its node: the driver's host may have died without a word.
DRIVER_SILENCE_S = 60.0

# Driver to agent.
SETUP = "setup"  # orders: Setup
RUN = "run"  # evaluations: [[id, attempt, slot, configuration], ...], each waits behind what its slot has
RECALL = "recall"  # evaluations: [id, ...] that have not started
STOP = "stop"  # evaluations: [id, ...], state: how they are to end by themselves, when they look
KILL = "kill"  # evaluations: [id, ...], state: how they end
EXIT = "exit"  # end everything, then yourself

# Agent to driver.
HELLO = "hello"  # {host, pid, cores: [[CPU, ...], ...], gpus, memory_mb, python}: once, first
READY = "ready"  # slot: its run function is loaded
UNLOADABLE = "unloadable"  # slot, failure: its run function cannot be loaded
STARTED = "started"  # id, attempt, slot, at
ENDED = "ended"  # id, attempt, slot, state, started_at, ended_at, duration_s, objective, metadata, failure, killed_by
REPORT = "report"  # id, attempt, step, at, metrics
RECALLED = "recalled"  # id
TERMINATING = "terminating"  # somebody else than the driver wants this node to end
BEAT = "beat"  # in both directions: nothing but a sign of life


@dataclass(frozen=True)
class Share:
    """A slot's share of its node: CPUs (hardware threads) and GPUs.

    ``threads`` is how many threads of its own an evaluation may use: one for each core. ``bound`` says whether it is
    held to its CPUs.
    """

    cpus: tuple[int, ...]
    threads: int
    gpus: tuple[str, ...]
    bound: bool


@dataclass(frozen=True)
class Setup:
    """What an agent needs to know before the first evaluation."""

    slots: list[dict[str, Any]]  # Shares
    run: str
    names: list[str]
    cwd: str
    evaluations: str
    time_left_s: float
    eval_timeout_s: float | None
    reuse: int
    gpu_variable: str
    output_limit_bytes: int
    stop_raises: bool = False
    stop_margin_s: float | None = None
