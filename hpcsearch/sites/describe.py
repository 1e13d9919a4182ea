"""Sites as text: what a person wants to see of one, and every value with the file that it comes from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcsearch.sites.duration import format_duration
from hpcsearch.sites.load import merge, origins, read_table
from hpcsearch.sites.model import NodeShape, Queue, Site, Tier

_CONFIDENCE = {"A": "documented", "B": "from others' files", "C": "to be checked on the machine"}


def site_lines(site: Site) -> Iterator[str]:
    """The site as a person reads it, line by line."""
    yield f"Site {site.name}: {site.organisation}" if site.organisation else f"Site {site.name}"
    rows = {
        "scheduler": site.scheduler,
        "launcher": site.launcher.kind,
        "nodes": node_text(site.node),
        "needs": ", ".join(site.required),
        "gives nodes back": {"none": "no"}.get(site.release, f"yes ({site.release})"),
        "driver": site.driver,
        "contact": site.contact,
    }
    yield from (f"  {label + ':':18}{text}" for label, text in rows.items() if text)
    yield ""
    yield from _queue_lines(site)
    if site.facts:
        yield ""
        yield "Where this comes from:"
        yield from (f"  {fact.key:12}{fact.date}  {_CONFIDENCE[fact.confidence]}: {fact.source}" for fact in site.facts)


def node_text(node: NodeShape) -> str:
    """``64 cores (8 reserved), 8 GPUs, 512 GiB``; empty when nothing is known."""
    parts = []
    if node.cores:
        reserved = f" ({len(node.reserved_cores)} reserved)" if node.reserved_cores else ""
        parts.append(f"{node.cores} cores{reserved}")
    if node.gpus:
        parts.append(f"{node.gpus} GPUs")
    if node.memory_mb:
        parts.append(f"{node.memory_mb / 1024:.0f} GiB")
    return ", ".join(parts)


def _queue_lines(site: Site) -> Iterator[str]:
    if site.open_queues:
        yield "Every queue of the scheduler is taken; the scheduler itself checks its limits."
    if site.queues:
        width = max(len(queue.name) for queue in site.queues) + 2
        yield f"  {'queue':{width}}{'nodes':14}{'up to':12}remarks"
    for queue in site.queues:
        first, *more = queue.tiers or (Tier(),)
        yield f"  {queue.name:{width}}{_range(first):14}{_walltime(first):12}{_remarks(queue)}".rstrip()
        yield from (f"  {'':{width}}{_range(tier):14}{_walltime(tier)}" for tier in more)


def _range(tier: Tier) -> str:
    if tier.min_nodes == tier.max_nodes:
        return str(tier.min_nodes)
    return f"{tier.min_nodes}-{tier.max_nodes}" if tier.max_nodes else f"{tier.min_nodes} and more"


def _walltime(tier: Tier) -> str:
    return format_duration(tier.walltime_s) if tier.walltime_s else "any"


def _remarks(queue: Queue) -> str:
    told = {
        "by request": queue.by_request,
        "preemptable": queue.preemptable,
        "queued again": queue.requeue,
        "no chains": not queue.chain,
        node_text(queue.node): queue.node != NodeShape(),
        f"{queue.cpus_per_node} CPUs of shared nodes": queue.cpus_per_node,
        f"{queue.max_running} running for a user": queue.max_running,
        f"{queue.max_jobs} job{'' if queue.max_jobs == 1 else 's'} for a user": queue.max_jobs,
        f"at least {format_duration(queue.min_walltime_s)}": queue.min_walltime_s,
        queue.note: queue.note,
    }
    return "; ".join(text.rstrip(".") for text, holds in told.items() if holds)


def origin_lines(files: Sequence[Path]) -> Iterator[str]:
    """Every value of a site's files, as TOML with dotted keys, and the file it comes from."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = merge(merged, read_table(file))
    told = origins(files)
    lines = {key: f"{key} = {toml(value)}" for key, value in flatten(merged)}
    width = min(60, max((len(line) for line in lines.values()), default=0))
    yield from (f"{line:{width}}  # {told[key]}" for key, line in lines.items())


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def toml(value: Any) -> str:
    """A value as TOML writes it, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
