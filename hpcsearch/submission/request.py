"""What a user asks for, and what can be said against it before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.search.stopping import NONE
from hpcsearch.search.stopping.metric import Metric
from hpcsearch.workflow.layout import check_name

#: How long the problem and the run function may take to be imported, unless told otherwise.
IMPORT_LIMIT_S = 120.0

JOB_MODES = ("serial", "mpi")

#: Libraries by which an evaluation's ranks find each other.
DATA_PARALLEL = ("horovod", "torch", "tensorflow")

#: How a run function learns that it is stopped.
STOPPING = ("raise", "ask")


@dataclass(frozen=True)
class Request:
    """One search campaign and its first allocation, or the first ``chain`` ones, which follow each other.

    ``problem`` and ``run`` are references as the user wrote them. ``max_evals`` None means: until the walltime ends or
    the search space is exhausted, or ``max_success`` evaluations have succeeded. ``root`` and ``site`` None mean the
    usual place and the site that this machine is. ``smoke``: one configuration has to succeed before any other is run.
    ``yes``: a large number of configurations is meant. ``stopper`` and what begins with ``stop``: see
    :doc:`/stopping`. ``source`` is a folder of files that were made for this search:
    its content becomes part of the workflow's directory, and references to these files then lead there.
    """

    workflow: str
    problem: str
    run: str
    nodes: int
    walltime_s: int
    queue: str
    account: str
    job_mode: str = "serial"
    evals_per_node: int = 1
    nodes_per_eval: int = 1
    ranks_per_node: int = 1
    threads_per_rank: int = 0
    gpus_per_rank: int = 0
    data_parallel: str | None = None
    num_ps: int = 0
    max_evals: int | None = None
    max_success: int | None = None
    search: str = "ambs"
    search_arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    eval_timeout_s: float | None = None
    max_attempts: int = 3
    retry_failed: bool = False
    resumable: bool = False
    slot_reuse: str = "auto"
    stopper: str = NONE
    stopper_arguments: Mapping[str, Any] = field(default_factory=dict)
    stopper_metric: str | None = None
    stopping: str = "raise"
    stop_grace_s: float = 60.0
    stop_margin_s: float | None = None
    bind: bool = True
    chain: int = 1
    root: str | None = None
    site: str | None = None
    no_import: bool = False
    import_limit_s: float = IMPORT_LIMIT_S
    smoke: bool = False
    yes: bool = False
    source: str | None = None

    @property
    def at_once(self) -> int:
        """How many evaluations run at the same time."""
        return self.nodes // self.nodes_per_eval if self.nodes_per_eval > 1 else self.nodes * self.evals_per_node

    def check(self) -> None:
        """Raises UsageError for a value that cannot be meant, whatever the machine."""
        check_name(self.workflow)
        check_run_settings(vars(self))


def check_run_settings(values: Mapping[str, Any]) -> None:
    """Raises UsageError for settings of an allocation that cannot be meant; None stands for 'not given'."""
    for name, test, wrong, hint in _RULES:
        value = values.get(name)
        if value is not None and not test(value):
            raise UsageError(f"{name.replace('_', '-')} {value!r} {wrong}", hint)
    Metric.parse(values.get("stopper_metric"))
    _check_ranks(values)


def _check_ranks(values: Mapping[str, Any]) -> None:
    """Several ranks are for those who start several; several nodes are had whole, and no more than there are."""
    nodes, nodes_per_eval = values.get("nodes"), values.get("nodes_per_eval") or 1
    if nodes is not None and nodes_per_eval > nodes:
        raise UsageError(
            f"nodes-per-eval {nodes_per_eval} is more than the {nodes} node{'s' * (nodes != 1)} of the allocation.",
            f"Type -n {nodes_per_eval} or more, or --nodes-per-eval {nodes} or less.",
        )
    if nodes_per_eval > 1 and (values.get("evals_per_node") or 1) > 1:
        raise UsageError(
            f"nodes-per-eval {nodes_per_eval} and evals-per-node {values['evals_per_node']} exclude each other: an "
            "evaluation on several nodes has all of each.",
            "Leave out one of them.",
        )
    _check_servers(values)
    ranks = [name for name in ("nodes_per_eval", "ranks_per_node") if (values.get(name) or 1) > 1]
    if ranks and values.get("job_mode") == "serial" and not values.get("data_parallel"):
        option = ranks[0].replace("_", "-")
        raise UsageError(
            f"{option} {values[ranks[0]]} has no meaning in job mode serial, where each evaluation is one process.",
            "Type -j mpi for evaluations that are MPI programs, or --data-parallel for ranks without MPI.",
        )


def _check_servers(values: Mapping[str, Any]) -> None:
    """Parameter servers are TensorFlow's, and leave a rank that trains."""
    servers = values.get("num_ps") or 0
    if servers and values.get("data_parallel") != "tensorflow":
        raise UsageError(
            f"num-ps {servers} asks for parameter servers, which only TensorFlow has.",
            "Type --data-parallel tensorflow, or leave out --num-ps.",
        )
    ranks = (values.get("nodes_per_eval") or 1) * (values.get("ranks_per_node") or 1)
    if servers >= ranks > 0 and servers:
        raise UsageError(
            f"num-ps {servers} leaves none of an evaluation's {ranks} rank{'s' * (ranks != 1)} to train.",
            f"Type --num-ps {ranks - 1} or less, or ask for more with --nodes-per-eval or --ranks-per-node."
            if ranks > 1
            else "Ask for more ranks with --nodes-per-eval or --ranks-per-node.",
        )


def _at_least_one(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _none_or_more(value: Any) -> bool:
    return value == 0 or _at_least_one(value)


def _reuse(value: Any) -> bool:
    return value in ("auto", "always", "never") or (str(value).isdecimal() and int(value) >= 1)


_Rule = tuple[str, Callable[[Any], bool], str, str]

_RULES: tuple[_Rule, ...] = (
    ("nodes", _at_least_one, "is no number of nodes.", "Type -n 1 or more."),
    ("walltime_s", lambda value: value > 0, "is no walltime in seconds.", "Type -t 30 (minutes) or -t 1:30:00."),
    ("job_mode", lambda value: value in JOB_MODES, "is no job mode.", f"Type -j {' or -j '.join(JOB_MODES)}."),
    ("evals_per_node", _at_least_one, "is no number of evaluations.", "Type --evals-per-node 1 or more."),
    ("nodes_per_eval", _at_least_one, "is no number of nodes.", "Type --nodes-per-eval 1 or more."),
    ("ranks_per_node", _at_least_one, "is no number of ranks.", "Type --ranks-per-node 1 or more."),
    ("threads_per_rank", _none_or_more, "is no number of threads.", "Type --threads-per-rank 1 or more."),
    (
        "data_parallel",
        lambda value: value in DATA_PARALLEL,
        "is no library that ranks find each other with.",
        f"Type --data-parallel {' or '.join(DATA_PARALLEL)}.",
    ),
    ("num_ps", _none_or_more, "is no number of parameter servers.", "Type --num-ps 1 or more, or leave it out."),
    ("gpus_per_rank", _none_or_more, "is no number of GPUs.", "Type --gpus-per-rank 1 or more."),
    ("max_evals", _at_least_one, "is no number of evaluations.", "Type --max-evals 1 or more, or leave it out."),
    ("max_success", _at_least_one, "is no number of evaluations.", "Type --max-success 1 or more, or leave it out."),
    ("max_attempts", _at_least_one, "is no number of attempts.", "Type --max-attempts 1 or more; 3 are usual."),
    ("eval_timeout_s", lambda value: value > 0, "is no time limit in seconds.", "Type --eval-timeout 60 or more."),
    ("slot_reuse", _reuse, "says nothing about slots.", "Type --slot-reuse auto, always, never, or a number."),
    ("stopping", lambda value: value in STOPPING, "is no way to tell.", f"Type --stopping {' or '.join(STOPPING)}."),
    ("stop_grace_s", lambda value: value >= 0, "is no time in seconds.", "Type --stop-grace 60; 0 to kill at once."),
    ("stop_margin_s", lambda value: value >= 0, "is no time in seconds.", "Type --stop-margin 60, or leave it out."),
    ("chain", _at_least_one, "is no number of allocations.", "Type --chain 2 or more, or leave it out."),
    ("import_limit_s", lambda value: value > 0, "is no time limit in seconds.", "Type --import-limit 120 or more."),
)
