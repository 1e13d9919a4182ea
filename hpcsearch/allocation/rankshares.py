"""What each rank has of its node: an even part of the cores and GPUs of the evaluation's slots there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcsearch.allocation.nodes import Placement, plan_slots
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Resources
from hpcsearch.worker.protocol import Share


def share_on(host: str, placement: Placement, shares: Sequence[Share]) -> Share:
    """All that an evaluation has of a host, whose slots have these shares."""
    return joined([shares[one.slot] for one in placement.slots if one.node == host])


def rank_shares(placement: Placement, shares_of: Callable[[str], Sequence[Share]], needs: Resources) -> list[list[Any]]:
    """``[[hosts, [{"cpus", "threads", "gpus"}, ...]], ...]``, one part for each rank on a node.

    Hosts whose parts are alike stand together; no hosts are named where all are alike.

    Args:
        placement: where the evaluation is.
        shares_of: by host, what each of its slots has.
        needs: ranks on each node, and the threads and GPUs of each; 0 for an even part.

    Raises:
        AllocationError: a host has too little for its ranks.
    """
    groups: list[list[Any]] = []
    for host in placement.nodes:
        parts = _parts(share_on(host, placement, shares_of(host)), needs)
        group = next((group for group in groups if group[1] == parts), None)
        if group is None:
            groups.append([[host], parts])
        else:
            group[0].append(host)
    return groups if len(groups) > 1 else [[[], groups[0][1]]]


def _parts(own: Share, needs: Resources) -> list[dict[str, Any]]:
    each = needs.gpus
    return [
        {
            "cpus": list(part.cpus) if part.bound else [],
            "threads": needs.cores or part.threads,
            "gpus": list(own.gpus[rank * each : (rank + 1) * each] if each else part.gpus),
        }
        for rank, part in enumerate(divided(own, needs.ranks_per_node))
    ]


def divided(share: Share, parts: int) -> list[Share]:
    """A share of a node in even parts.

    Raises:
        AllocationError: it has fewer CPUs than that.
    """
    if share.bound and len(share.cpus) < parts:
        raise AllocationError(
            f"{parts} ranks on one node need {parts} CPUs, and the evaluation has {len(share.cpus)} there.",
            "Ask for fewer with --ranks-per-node, or let them share cores with --no-bind.",
        )
    each = max(1, len(share.cpus) // max(1, share.threads))  # CPUs of a core stand side by side
    cores = [share.cpus[first : first + each] for first in range(0, len(share.cpus), each)]
    return plan_slots(cores, share.gpus, parts, share.bound)


def joined(shares: Sequence[Share]) -> Share:
    """Several shares of one node as one."""
    return Share(
        tuple(dict.fromkeys(cpu for share in shares for cpu in share.cpus)),
        sum(share.threads for share in shares),
        tuple(dict.fromkeys(gpu for share in shares for gpu in share.gpus)),
        bound=all(share.bound for share in shares),
    )
