"""``hpcsearch doctor --on-compute``: a small allocation tries launcher, MPI library and binding on its nodes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hpcsearch.doctor.finding import Finding, failed, ok
from hpcsearch.submission import submit
from hpcsearch.submission.api import Submitted
from hpcsearch.workflow.workflow import Record

PROBE = "hpcsearch.doctor.probe"


@dataclass(frozen=True)
class Trial:
    """The allocation to be asked for."""

    site: str | None
    root: str | None
    nodes: int
    walltime_s: int
    queue: str
    account: str
    ranks_per_node: int


def try_nodes(trial: Trial) -> Submitted:
    """Submits an evaluation that has all nodes of its allocation.

    Raises:
        HpcsearchError: it was refused.
    """
    return submit(
        f"doctor-{time.time_ns()}",
        f"{PROBE}:Problem",
        f"{PROBE}:run",
        nodes=trial.nodes,
        walltime_s=trial.walltime_s,
        queue=trial.queue,
        account=trial.account,
        site=trial.site,
        root=trial.root,
        job_mode="mpi",
        nodes_per_eval=trial.nodes,
        ranks_per_node=trial.ranks_per_node,
        search="random",
        max_evals=1,
    )


#: Of the table that ``rows`` makes.
HEADER = ("Node", "Rank", "CPUs", "Threads", "GPUs")

Rank = Mapping[str, Any]


def rows(ranks: Sequence[Rank]) -> list[tuple[str, ...]]:
    """One line for each rank: where it was, and what it had."""
    return [
        (rank["host"], str(rank["rank"]), spans(rank["cpus"]), rank["threads"], rank["gpus"] or "none")
        for rank in ranks
    ]


def judged(record: Record, trial: Trial) -> Iterator[Finding]:
    """What the ranks' answers come to."""
    size = trial.nodes * trial.ranks_per_node
    ranks: list[Rank] = record.metadata["ranks"]
    if record.objective == size:
        yield ok("MPI", f"{size} ranks have found each other ({record.metadata['library']}).")
    else:
        yield failed("MPI", f"{record.objective:g} ranks were found where {size} were asked for.", _LAUNCHER)
    by_host = Counter(rank["host"] for rank in ranks)
    if set(by_host.values()) == {trial.ranks_per_node} and len(by_host) == trial.nodes:
        yield ok("placing", f"{trial.ranks_per_node} on each of {trial.nodes} node{'s' * (trial.nodes != 1)}.")
    else:
        where = ", ".join(f"{count} on {host}" for host, count in by_host.items())
        yield failed("placing", f"Ranks were not where they were asked for: {where}.", _LAUNCHER)
    for what in ("cpus", "gpus"):
        yield _shared(what, ranks)


def _shared(what: str, ranks: Sequence[Rank]) -> Finding:
    """Whether two ranks of a node have the same core or GPU."""
    name = {"cpus": "CPUs", "gpus": "GPUs"}[what]
    owners: Counter[tuple[str, str]] = Counter(
        chain.from_iterable(((rank["host"], one) for one in _each(rank[what])) for rank in ranks)
    )
    if not owners:
        return ok(name, "There are none.")
    twice = [f"{one} of {host}" for (host, one), count in owners.items() if count > 1]
    if twice:
        text = f"Several ranks have {name[:-1]} {', '.join(twice[:4])}{' and more' if len(twice) > 4 else ''}."
        return failed(name, text, "Ask for as many ranks as there are, or look at [node] in the site file.")
    return ok(name, "Each rank has its own.")


def _each(values: Any) -> list[str]:
    return [one for one in values.split(",") if one] if isinstance(values, str) else [str(one) for one in values]


def spans(numbers: Sequence[int]) -> str:
    """Numbers as ``0-3,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


_LAUNCHER = "See mpi_kind and mpi_arguments in the site file's [launcher]."
