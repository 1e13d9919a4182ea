"""Job scripts from templates.

A template sees no raw value: every text it gets is one shell word already, so that no name or path can say more
than itself.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jinja2

from hpcsearch.errors import SiteError
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.sites.duration import format_duration
from hpcsearch.sites.find import data_folder

#: Times that a job script starts a driver again that died.
RESTARTS = 3


def render_job_script(request: AllocationRequest) -> str:
    """The whole script of an allocation; raises SiteError when the site's template is wrong."""
    template = request.site.template
    folders = [data_folder("jobscripts")]
    name = f"{request.site.scheduler}.sh.j2"
    if template:
        folders.insert(0, Path(template).parent)
        name = Path(template).name
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        return environment.get_template(name).render(words(request))
    except jinja2.TemplateError as error:
        where = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise SiteError(f"the job script template {name} of site {request.site.name}{where}: {error}") from None


def words(request: AllocationRequest) -> dict[str, Any]:
    """What templates may use: texts as shell words, None where there is none, numbers, and the site's own lines."""
    site, queue = request.site, request.site.queue(request.queue)
    texts = {
        "workflow": request.workflow,
        "directory": str(request.directory),
        "folder": str(request.folder),
        "cwd": str(request.cwd),
        "python": request.python,
        "job_mode": request.job_mode,
        "job_name": request.scheduler_job_name,
        "account": request.account,
        "queue": request.queue,
        "partition": queue.partition,
        "qos": queue.qos,
        "comment": site.comment,
        "wckey": site.wckey,
        "site": site.name,
        "scheduler": site.scheduler,
        "walltime": format_duration(request.walltime_s),
        "after": request.after,
    }
    return {
        **{name: shlex.quote(text) if text else None for name, text in texts.items()},
        "stdout_option": _option_path(request.stdout, site.scheduler),
        "stderr_option": _option_path(request.stderr, site.scheduler),
        "number": request.number,
        "nodes": request.nodes,
        "walltime_s": request.walltime_s,
        "drain_margin_s": site.drain_margin_s,
        "restarts": RESTARTS,
        "requeue": queue.requeue,
        "cpus_per_node": queue.cpus_per_node,
        "memory_mb": queue.memory_mb,
        "chunk": site.chunk,
        "account_option": site.account_option,
        "environment": site.environment,
        "directives": (*site.directives, *queue.directives),
    }


def _option_path(path: Path, scheduler: str) -> str:
    """A path in a line for the scheduler, which has no backslash; Slurm alone takes % for a pattern.

    PBS reads quotes as a shell does, but nothing within them; Slurm reads a backslash within double quotes.
    """
    if scheduler == "pbs":
        return shlex.quote(str(path))
    text = str(path).replace("%", "%%") if scheduler == "slurm" else str(path)
    if all(char.isalnum() or char in "/._-+=,:@%" for char in text):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
