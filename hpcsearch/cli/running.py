"""The options of how allocations run, which every command has that submits one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from hpcsearch.cli import completion, options
from hpcsearch.cli.options import Command

#: Names, attributes, help.
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
    (("--nodes", "-n"), {"type": int, "metavar": "N"}, "How many nodes."),
    (("--time", "-t", "walltime_s"), {"type": options.Walltime()}, "The walltime: minutes, or HH:MM:SS."),
    (
        ("--queue", "-q"),
        {"metavar": "QUEUE", "shell_complete": completion.queues},
        "The site's queue (partition, QOS).",
    ),
    (("--account", "-A"), {"metavar": "ACCOUNT"}, "Whom it is charged to (project)."),
    (
        ("--job-mode", "-j"),
        {"type": click.Choice(["serial", "mpi"])},
        "serial: evaluations are single processes that share nodes; mpi: each is an MPI launch of its own.",
    ),
    (
        ("--site",),
        {"metavar": "SITE", "shell_complete": completion.sites},
        "The machine, when it is not recognised by itself.",
    ),
    (
        ("--chain",),
        {"type": int, "metavar": "K"},
        "Submit K allocations that follow each other, each of which goes on where the one before ended.",
    ),
    (("--evals-per-node",), {"type": int, "metavar": "K"}, "How many evaluations run on a node at once."),
    (("--nodes-per-eval",), {"type": int, "metavar": "M"}, "How many nodes each evaluation has."),
    (("--ranks-per-node",), {"type": int, "metavar": "R"}, "How many ranks an evaluation has on each of its nodes."),
    (
        ("--threads-per-rank",),
        {"type": int, "metavar": "T"},
        "How many cores each rank has.",
    ),
    (
        ("--gpus-per-rank",),
        {"type": int, "metavar": "G"},
        "How many GPUs each rank has.",
    ),
    (("--max-evals",), {"type": int, "metavar": "N"}, "The budget: how many configurations are evaluated."),
    (
        ("--max-success",),
        {"type": int, "metavar": "N"},
        "End the search when N evaluations have succeeded.",
    ),
    (
        ("--max-attempts",),
        {"type": int, "metavar": "N"},
        "Try an evaluation so often when its node is lost (or, with --retry-failed, when it fails).",
    ),
    (
        ("--retry-failed/--no-retry-failed",),
        {"default": None},
        "Whether an evaluation that failed is tried again, too.",
    ),
    (
        ("--eval-timeout", "eval_timeout_s"),
        {"type": float, "metavar": "SECONDS"},
        "End an evaluation that takes longer.",
    ),
    (
        ("--resumable/--not-resumable",),
        {"default": None},
        "Whether an evaluation that the walltime cuts off goes on from a checkpoint of its own.",
    ),
    (
        ("--slot-reuse",),
        {"metavar": "WHEN"},
        "Evaluations that one process runs: always, never, a number, or auto (never with GPUs).",
    ),
    (("--bind/--no-bind",), {"default": None}, "Whether each evaluation gets cores of its own."),
)

#: What a new search has to be told, and what it does unless told otherwise.
_NEW: Mapping[str, dict[str, Any]] = {
    "nodes": {"required": True},
    "time": {"required": True},
    "queue": {"required": True},
    "account": {"default": "", "show_default": "none"},
    "job_mode": {"default": "serial", "show_default": True},
    "chain": {"default": 1, "show_default": True},
    "evals_per_node": {"default": 1, "show_default": True},
    "nodes_per_eval": {"default": 1, "show_default": True},
    "ranks_per_node": {"default": 1, "show_default": True},
    "threads_per_rank": {"default": 0, "show_default": "all of them shared evenly"},
    "gpus_per_rank": {"default": 0, "show_default": "all of them shared evenly"},
    "max_attempts": {"default": 3, "show_default": True},
    "retry_failed": {"default": False},
    "slot_reuse": {"default": "auto", "show_default": True},
    "resumable": {"default": False},
    "bind": {"default": True},
}


def running(*only: str, new: bool, **changed: dict[str, Any]) -> Callable[[Command], Command]:
    """The options of a ``new`` search, with their defaults, or without any of one that goes on.

    Args:
        only: those to take, by their first names; all by default.
        new: whether the search is new.
        changed: attributes of one, by its first name, in the place of these defaults.
    """
    further = {**(_NEW if new else {}), **changed}

    def decorate(command: Command) -> Command:
        for names, attributes, text in reversed(_OPTIONS):
            key = names[0].partition("/")[0].removeprefix("--").replace("-", "_")
            if not only or key in only:
                command = click.option(*names, **{**attributes, **further.get(key, {}), "help": text})(command)
        return command

    return decorate
