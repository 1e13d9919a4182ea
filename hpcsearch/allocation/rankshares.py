"""What each rank of a launch has of its node: an even part of the cores and GPUs of the evaluation's slots there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from hpcsearch.allocation.nodes import Placement, divide
from hpcsearch.evaluation import Resources
from hpcsearch.worker.protocol import Share


def rank_shares(placement: Placement, shares_of: Callable[[str], Sequence[Share]], needs: Resources) -> list[list[Any]]:
    """``[[hosts, [{"cpus", "threads", "gpus"}, ...]], ...]``, one part for each rank on a node.

    Hosts whose parts are alike stand together; no hosts are named where all are alike.

    Args:
        placement: where the evaluation is.
        shares_of: by host, what each of its slots has.
        needs: ranks on each node, and the threads and GPUs of each; 0 for an even part.
    """
    by_host: dict[str, list[dict[str, Any]]] = {}
    for host in placement.nodes:
        shares = shares_of(host)
        slots = [shares[one.slot] for one in placement.slots if one.node == host and one.slot < len(shares)]
        by_host[host] = _parts(slots, needs)
    groups: list[list[Any]] = []
    for host, parts in by_host.items():
        group = next((group for group in groups if group[1] == parts), None)
        if group is None:
            groups.append([[host], parts])
        else:
            group[0].append(host)
    return groups if len(groups) > 1 else [[[], groups[0][1]]]


def _parts(slots: Sequence[Share], needs: Resources) -> list[dict[str, Any]]:
    ranks = needs.ranks_per_node
    bound = all(slot.bound for slot in slots)
    cores = list(chain.from_iterable(_cores(slot) for slot in slots))
    gpus = list(dict.fromkeys(chain.from_iterable(slot.gpus for slot in slots)))
    parts = []
    for rank, own in enumerate(divide(cores, ranks) if len(cores) >= ranks else [cores] * ranks):
        cpus = sorted(chain.from_iterable(own)) if bound else []
        threads = needs.cores or max(1, (len(own) if len(cores) >= ranks else len(cores) // ranks))
        parts.append({"cpus": cpus, "threads": threads, "gpus": _gpus(gpus, rank, ranks, needs.gpus)})
    return parts


def _cores(slot: Share) -> list[tuple[int, ...]]:
    """A slot's CPUs, those of a core together, as far as the slot has whole cores."""
    each = max(1, len(slot.cpus) // max(1, slot.threads))
    return [slot.cpus[start : start + each] for start in range(0, len(slot.cpus), each)]


def _gpus(gpus: Sequence[str], rank: int, ranks: int, each: int) -> list[str]:
    if not gpus:
        return []
    if each:
        return list(gpus[rank * each : (rank + 1) * each])
    return list(divide(gpus, ranks)[rank]) if len(gpus) >= ranks else [gpus[rank * len(gpus) // ranks]]
