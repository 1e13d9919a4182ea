"""Checks a request against a queue's tiers, and says which queue would take it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hpcsearch.errors import LimitError, UsageError
from hpcsearch.sites.duration import format_duration
from hpcsearch.sites.model import Queue, Site, Tier


def check_request(site: Site, queue_name: str, nodes: int, walltime_s: int, account: str) -> None:
    """Raises LimitError with what the queue takes instead, and UsageError for what no machine could take."""
    if nodes < 1:
        raise UsageError(f"{nodes} nodes are asked for; at least 1 is needed", "Type -n 1.")
    if walltime_s < 1:
        raise UsageError(f"a walltime of {walltime_s} s is asked for; it must be above 0", "Type -t 30 (minutes).")
    if "account" in site.required and not account:
        raise UsageError(f"site {site.name} takes no request without an account", "Type -A and your account.")
    queue = site.queue(queue_name)
    longest_s = queue.longest_s(nodes)
    if longest_s is None:
        raise _refusal(site, queue, nodes, walltime_s, _nodes_taken(queue, nodes), f"for {_nodes(nodes)}")
    if longest_s and walltime_s > longest_s:
        wrong = f"runs {_nodes(nodes)} for at most {format_duration(longest_s)}"
        raise _refusal(site, queue, nodes, walltime_s, wrong, f"for {format_duration(walltime_s)}")
    if walltime_s < queue.min_walltime_s:
        wrong = f"takes no walltime below {format_duration(queue.min_walltime_s)}"
        raise LimitError(
            f"queue {queue.name} {wrong} on {site.name}; {format_duration(walltime_s)} is asked for",
            f"Type -t {format_duration(queue.min_walltime_s)}.",
        )


def check_chain(site: Site, queue_name: str, count: int) -> None:
    """Raises LimitError when ``count`` allocations that follow each other are not allowed in the queue."""
    queue = site.queue(queue_name)
    if count > 1 and not queue.chain:
        raise LimitError(
            f"queue {queue.name} of {site.name} is not for allocations that follow each other; {count} are asked for",
            "Leave out --chain, or name another queue with -q.",
        )
    if queue.max_jobs and count > queue.max_jobs:
        raise LimitError(
            f"queue {queue.name} of {site.name} takes {_jobs(queue.max_jobs)} of a user at once; {count} are asked for",
            f"Type --chain {queue.max_jobs}, and 'hpcsearch resume' later."
            if queue.max_jobs > 1
            else "Leave out --chain.",
        )


def check_slots(site: Site, queue_name: str, evals_per_node: int, bind: bool) -> None:
    """Raises LimitError when a node has fewer CPUs than evaluations that are each to have some of their own.

    Where the site does not say how many there are, the nodes tell when they are there.
    """
    shape = site.node_of(site.queue(queue_name))
    known = shape.cores * shape.threads_per_core - len(shape.reserved_cores)
    cpus = len(os.sched_getaffinity(0)) if site.scheduler == "local" else known
    if bind and 0 < cpus < evals_per_node:
        raise LimitError(
            f"{evals_per_node} evaluations at once on one node need {evals_per_node} CPUs; "
            f"a node of {site.name} has {cpus}",
            f"Type --evals-per-node {cpus}, or let evaluations share CPUs with --no-bind.",
        )


def check_ranks(site: Site, queue_name: str, asked: Mapping[str, Any]) -> None:
    """Raises LimitError when a node has fewer cores or GPUs than an evaluation's ranks there are to have.

    Args:
        site: the machine.
        queue_name: its queue.
        asked: ``ranks_per_node``, ``threads_per_rank``, ``gpus_per_rank``.
    """
    shape = site.node_of(site.queue(queue_name))
    cores = shape.cores - len(shape.reserved_cores) if shape.cores else 0
    ranks = asked["ranks_per_node"]
    for option, name, has in (("threads_per_rank", "cores", cores), ("gpus_per_rank", "GPUs", shape.gpus)):
        wanted = ranks * asked[option]
        if has and wanted > has:
            raise LimitError(
                f"{ranks} rank{'s' * (ranks != 1)} with {asked[option]} {name} each need {wanted} {name}; "
                f"a node of {site.name} has {has}",
                f"Ask for fewer with --ranks-per-node or --{option.replace('_', '-')}.",
            )


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _refusal(site: Site, queue: Queue, nodes: int, walltime_s: int, wrong: str, asked: str) -> LimitError:
    start = f"queue {queue.name} {wrong} on {site.name}"
    unasked = [other for other in site.queues if not other.by_request and not other.preemptable]
    others = [other for other in unasked if other.name != queue.name]
    fitting = [other for other in others if _fits(other, nodes, walltime_s)]
    if fitting:
        names = " or ".join(f"{other.name} ({_up_to(other, nodes)})" for other in fitting)
        return LimitError(f"{start}; {asked} use {names}", f"Type -q {fitting[0].name}.")
    shorter = [other for other in others if other.longest_s(nodes) is not None]
    if shorter and queue.longest_s(nodes) is None:
        names = " or ".join(f"{other.name} ({_up_to(other, nodes)})" for other in shorter)
        return LimitError(
            f"{start}; {asked} use {names}, but not for {format_duration(walltime_s)}",
            f"Type -q {shorter[0].name} -t {format_duration(shorter[0].longest_s(nodes) or 0)}.",
        )
    return LimitError(
        f"{start}; no queue of {site.name} takes {_nodes(nodes)} for {format_duration(walltime_s)}",
        "Ask for fewer nodes or less time; `hpcsearch site show` lists the queues.",
    )


def _fits(queue: Queue, nodes: int, walltime_s: int) -> bool:
    longest_s = queue.longest_s(nodes)
    if longest_s is None or walltime_s < queue.min_walltime_s:
        return False
    return longest_s == 0 or walltime_s <= longest_s


def _nodes_taken(queue: Queue, nodes: int) -> str:
    """What is wrong with that node count, when no tier takes it."""
    below = [tier for tier in queue.tiers if tier.max_nodes and tier.max_nodes < nodes]
    above = [tier for tier in queue.tiers if tier.min_nodes > nodes]
    if below and above:
        return f"takes {' or '.join(_range(tier) for tier in queue.tiers)} nodes"
    if below:
        return f"takes at most {_nodes(max(tier.max_nodes for tier in below))}"
    return f"takes at least {_nodes(min(tier.min_nodes for tier in above))}"


def _range(tier: Tier) -> str:
    return f"{tier.min_nodes} to {tier.max_nodes}" if tier.max_nodes else f"{tier.min_nodes} and more"


def _up_to(queue: Queue, nodes: int) -> str:
    longest_s = queue.longest_s(nodes)
    return f"up to {format_duration(longest_s)}" if longest_s else "any walltime"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
