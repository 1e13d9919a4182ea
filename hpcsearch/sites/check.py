"""Checks a site file before people use it: that it holds together, and that job scripts follow from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import SiteError
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.load import load_site
from hpcsearch.sites.model import Queue, Site, Tier
from hpcsearch.sites.render import render_job_script


@dataclass(frozen=True)
class Checked:
    """A site whose file is right; ``advice`` says what it could say besides, ``scripts`` how many were rendered."""

    site: Site
    scripts: int
    advice: tuple[str, ...]


def check_file(*files: Path) -> Checked:
    """Checks the last of ``files`` together with those that it goes over; raises SiteError for what is wrong."""
    site = load_site(*files)
    scripts = 0
    for request in sample_requests(site):
        check_script(request)
        scripts += 1
    return Checked(site, scripts, tuple(_advice(site)))


def sample_requests(site: Site) -> Iterator[AllocationRequest]:
    """The smallest and the largest request for every queue."""
    for queue in site.queues or (Queue("some_queue", partition="some_queue"),):
        if site.queues or site.open_queues:
            tiers = queue.tiers or (Tier(),)
            for nodes, tier in ((tiers[0].min_nodes, tiers[0]), (tiers[-1].max_nodes or 1, tiers[-1])):
                yield _request(site, queue.name, max(1, nodes), tier.walltime_s or 3600)


def check_script(request: AllocationRequest) -> str:
    """Renders the request's script and has bash read it without running it; raises SiteError when it cannot."""
    text = render_job_script(request)
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SiteError(
            f"the job script of site {request.site.name} for queue {request.queue} is no shell script: "
            + done.stderr.strip(),
            "Look at the keys environment, directives and template.",
        )
    return text


def _request(site: Site, queue: str, nodes: int, walltime_s: int) -> AllocationRequest:
    directory = Path("/workflows/check")
    return AllocationRequest(
        workflow="check",
        directory=directory,
        number=1,
        folder=directory / "allocations/1",
        site=site,
        queue=queue,
        account="account",
        nodes=nodes,
        walltime_s=walltime_s,
        job_mode="serial",
        python=sys.executable,
        cwd=Path("/"),
        job_name="check",
    )


def _advice(site: Site) -> Iterator[str]:
    if not site.queues and not site.open_queues:
        yield "It has no queue: name some under [queues.<name>], or set open_queues = true."
    limitless = [queue.name for queue in site.queues if not queue.tiers]
    if limitless:
        yield f"Without tiers, no request is checked before it is submitted: {', '.join(limitless)}."
    if not site.detect.hostnames and not site.detect.variables:
        yield "It has no [detect]: people must name it with --site."
    if site.node.gpus and not site.node.gpu_variable:
        yield "Its nodes have GPUs but no gpu_variable: evaluations would all see all of them."
    if site.scheduler != "local" and site.launcher.kind == "none":
        yield "Its launcher is 'none': only the first node of an allocation would work."
    if site.scheduler == "slurm" and site.release == "none":
        yield 'Nodes are kept to the end; release = "slurm" gives idle ones back.'
    if not site.facts:
        yield "It names no sources: [[facts]] say where its values come from, and when that was."
