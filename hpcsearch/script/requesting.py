"""From a prepared script and the options of its allocation to the request that every search goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.script.front import Prepared
from hpcsearch.script.shares import evaluations_per_node
from hpcsearch.sites.find import find_site
from hpcsearch.submission.request import Request


def request_of(workflow: str, made: Prepared, options: Mapping[str, Any]) -> Request:
    """The request.

    Args:
        workflow: its name.
        made: the script.
        options: the fields of the request by name, and ``cpus``, ``gpus`` and ``mem`` (bytes) of one evaluation.

    Raises:
        UsageError: both what an evaluation needs and how many share a node were given, or a node has less.
    """
    fields = dict(options)
    if fields["job_mode"] != "serial":
        raise UsageError(
            f"job mode {fields['job_mode']} would run a script once for each process.",
            "Type -j serial; a program that starts by MPI is searched with @hpcsearch.command and 'submit hps'.",
        )
    needs = {name: fields.pop(name) for name in ("cpus", "gpus", "mem")}
    per_node = fields.pop("evals_per_node")
    if any(needs.values()):
        given = ", ".join(f"--{name}" for name, value in needs.items() if value)
        if per_node is not None:
            raise UsageError(
                f"{given} and --evals-per-node both say how many evaluations share a node.", "Leave one out."
            )
        site = find_site(fields["site"], queue=fields["queue"])
        memory_mb = None if needs["mem"] is None else -(-needs["mem"] >> 20)
        per_node = evaluations_per_node(site, fields["queue"], needs["cpus"], needs["gpus"], memory_mb)
    arguments = {**made.search_arguments, **dict(fields.pop("search_arguments"))}
    return Request(
        workflow,
        str(made.folder / "problem.py"),
        str(made.folder / "run.py"),
        search=made.search,
        search_arguments=arguments,
        evals_per_node=per_node or 1,
        slot_reuse="always",
        source=str(made.folder),
        **fields,
    )
