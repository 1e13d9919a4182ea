"""What is told of each launch: to the desk that starts it, and to the agents that end what is left of it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcsearch.allocation.launching import LaunchOrders
from hpcsearch.allocation.nodes import Placement
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.rankshares import rank_shares
from hpcsearch.evaluation import Evaluation
from hpcsearch.program import RESULT_FILE, Command, argv_of, environment_of, working_directory
from hpcsearch.worker.environment import LAUNCHER_PREFIXES
from hpcsearch.worker.protocol import Share

#: The scheduler's variables, which change when nodes are given back.
_SCHEDULERS = (*LAUNCHER_PREFIXES["slurm"], *LAUNCHER_PREFIXES["pbs"])


def mark_of(plan: Plan, evaluation: Evaluation) -> str:
    """What the processes of an attempt are known by, wherever they are."""
    return f"{plan.directory}:{plan.allocation}:{evaluation.id}.{evaluation.attempt}"


def flag_of(mark: str) -> str:
    """The file by which a node's agent asks rank 0 to end, in the node's own memory."""
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
    return f"{folder}/hpcsearch-{os.getuid()}-{hashlib.sha256(mark.encode()).hexdigest()[:24]}"


def orders_of(
    plan: Plan,
    evaluation: Evaluation,
    placement: Placement,
    command: Command | None,
    shares: Callable[[str], Sequence[Share]],
    time_left_s: float,
) -> LaunchOrders:
    """What the desk is to launch.

    Args:
        plan: what the allocation was asked to do.
        evaluation: which one.
        placement: where.
        command: the program that it is; None for a run function.
        shares: what each slot of a node has.
        time_left_s: seconds until evaluations must have ended.

    Raises:
        AllocationError: its ranks do not fit there.
    """
    needs, mark = evaluation.resources, mark_of(plan, evaluation)
    directory = f"{plan.directory}/evaluations/{evaluation.id}"
    timeouts = [limit for limit in (plan.eval_timeout_s, command and command.timeout) if limit]
    return LaunchOrders(
        evaluation=evaluation.id,
        attempt=evaluation.attempt,
        mark=mark,
        hosts=list(placement.nodes),
        per_node=needs.ranks_per_node,
        shares=rank_shares(placement, shares, needs),
        configuration=evaluation.configuration,
        directory=directory,
        ranks=_ranks(plan, evaluation, placement, directory) | {"time_left_s": time_left_s, "flag": flag_of(mark)},
        variables=_schedulers_variables(os.environ),
        timeout_s=min(timeouts, default=None),
        log=f"{directory}/log",
        output_limit_bytes=plan.output_limit_bytes,
        program=None if command is None else _program(plan, command, evaluation, directory),
    )


def _ranks(plan: Plan, evaluation: Evaluation, placement: Placement, directory: str) -> dict[str, Any]:
    return {
        "id": evaluation.id,
        "attempt": evaluation.attempt,
        "slot": placement.slot,
        "directory": directory,
        "run": plan.run,
        "names": list(plan.names),
        "cwd": plan.cwd,
        "timeout_s": plan.eval_timeout_s,
        "gpu_variable": plan.gpu_variable,
        "stop_raises": plan.stopping == "raise",
        "stop_margin_s": plan.stop_margin_s,
    }


def _program(plan: Plan, command: Command, evaluation: Evaluation, directory: str) -> dict[str, Any]:
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(directory, RESULT_FILE).unlink(missing_ok=True)  # of an attempt before this one
    environment = environment_of(command, evaluation.configuration, evaluation.id, directory, {})
    argv = argv_of(command, directory, plan.cwd, (plan.gpu_variable,))
    return {"argv": argv, "environment": environment, "cwd": working_directory(command, directory, plan.cwd)}


def _schedulers_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    return {name: value for name, value in environment.items() if name.startswith(_SCHEDULERS)}
