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
RUN = "run"  # evaluations: [[id, attempt, slot, configuration, others], ...], each waits behind what its slot has;
# others: further slots, whose cores and GPUs it has as well, where one is not enough
RECALL = "recall"  # evaluations: [id, ...] that have not started
STOP = "stop"  # evaluations: [id, ...], state: how they are to end by themselves, when they look
KILL = "kill"  # evaluations: [id, ...], state: how they end
EXIT = "exit"  # end everything, then yourself

# Driver to agent, of an evaluation whose ranks are on several nodes, or several on one.
PREPARE = "prepare"  # orders: evaluation, attempt, ports (how many to keep free), hosts ([[name, ranks], ...] or None)
START_RANKS = "start ranks"  # orders: RankOrders
END_RANKS = "end ranks"  # evaluation: its ranks here that have not ended, and what they met at

# Driver to agent, of an evaluation whose ranks a launcher has started.
STOP_LAUNCH = "stop launch"  # path, evaluation, state: how it is to end by itself, when its rank 0 looks
SWEEP = "sweep"  # evaluation, mark, path: end whatever is left of it here

# Agent to driver.
HELLO = "hello"  # {host, pid, cores: [[CPU, ...], ...], gpus, memory_mb, python}: once, first
READY = "ready"  # slot: its run function is loaded
UNLOADABLE = "unloadable"  # slot, failure: its run function cannot be loaded
STARTED = "started"  # id, attempt, slot, at
ENDED = "ended"  # id, attempt, slot, state, started_at, ended_at, duration_s, objective, metadata, failure, killed_by
REPORT = "report"  # id, attempt, step, at, metrics
RECALLED = "recalled"  # id
PREPARED = "prepared"  # id, attempt, this node's address, ports
UNPREPARED = "unprepared"  # id, attempt, failure: its ranks cannot find each other
RANK_BEGUN = "rank begun"  # id, attempt, rank, at
RANK_ENDED = "rank ended"  # id, attempt, rank, state, started_at, ended_at, duration_s, objective, metadata, failure
RANK_GONE = "rank gone"  # id, attempt, rank, failure, killed_by: its process; a failure where it had not told its end
RANK_REPORT = "rank report"  # as REPORT, from the chief
SWEPT = "swept"  # id: nothing is left of it here
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
    warm: bool = True  # whether slots are started before they get anything
    stop_raises: bool = False
    stop_margin_s: float | None = None


@dataclass(frozen=True)
class RankOrders:
    """One node's ranks of an evaluation, all of which start at once.

    ``chief`` is the rank whose reports and whose output are the evaluation's.
    """

    evaluation: int
    attempt: int
    configuration: dict[str, Any]
    hosts: list[str]
    size: int
    node_rank: int
    chief: int
    ranks: list[dict[str, Any]]  # Ranks


@dataclass(frozen=True)
class Rank:
    """One of them, by its number in the evaluation and on its node, with what its environment gets."""

    rank: int
    local_rank: int
    share: Share
    environment: dict[str, str]
