"""How many evaluations fit on a node when each is to have so many cores, GPUs and so much memory."""

from __future__ import annotations

import os

from hpcsearch.errors import LimitError, UsageError
from hpcsearch.sites import Site
from hpcsearch.worker.environment import visible_gpus


def evaluations_per_node(site: Site, queue: str, cpus: int | None, gpus: int | None, memory_mb: int | None) -> int:
    """How many at once; None stands for 'not asked for'.

    Raises:
        LimitError: a node has less than one evaluation needs.
        UsageError: the site's file does not say what its nodes have.
    """
    shape = site.node_of(site.queue(queue))
    has = {
        "cpus": shape.cores - len(shape.reserved_cores),
        "gpus": shape.gpus,
        "mem": shape.memory_mb,
    }
    if site.scheduler == "local":
        has = {
            "cpus": len(os.sched_getaffinity(0)),
            "gpus": len(visible_gpus(os.environ)),
            "mem": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        }
    needs = {name: value for name, value in (("cpus", cpus), ("gpus", gpus), ("mem", memory_mb)) if value}
    fits = []
    for name, needed in needs.items():
        there = has[name]
        if not there and site.scheduler != "local":
            raise UsageError(
                f"The file of site {site.name} does not say how many {_WORDS[name]} a node has, which --{name} needs.",
                "Type --evals-per-node, or add it to the site's file.",
            )
        if there < needed:
            raise LimitError(
                f"Each evaluation asks for {needed:,} (--{name}, {_WORDS[name]}), and a node of {site.name} has "
                f"{there:,}.",
                f"Ask for at most {there:,}." if there else f"Leave out --{name}.",
            )
        fits.append(there // needed)
    return min(fits, default=1)


_WORDS = {"cpus": "cores", "gpus": "GPUs", "mem": "MB of memory"}
