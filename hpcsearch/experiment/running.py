"""Submits an experiment: what a user would have written is written, and goes the way of every search."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcsearch.errors import LoadError, NameTakenError, UsageError
from hpcsearch.experiment import function as functions
from hpcsearch.experiment.place import Place
from hpcsearch.experiment.result import Experiment, counted
from hpcsearch.experiment.space import Space
from hpcsearch.submission.api import submit_request
from hpcsearch.submission.request import Request
from hpcsearch.submission.steps import Steps
from hpcsearch.workflow.layout import free_name, workflows_root

DIRECTIONS = ("max", "min")

#: Others may take the same free name at the same moment.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Plan:
    """What is to be run: the strategy with its arguments, over a space, at most ``max_evals`` times."""

    title: str
    space: Space
    search: str
    max_evals: int
    direction: str = "max"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs_metric: bool = True


def begin(function: Callable[..., Any], plan: Plan, place: Place) -> Experiment:
    """Runs an experiment, or submits it, as the place says.

    Raises:
        HpcsearchError: it was refused, and nothing is left of it; or it has failed as a whole.
    """
    functions.refuse_while_loading()
    if plan.direction not in DIRECTIONS:
        raise UsageError(f"Invalid direction {plan.direction!r}, must be max or min.", 'Write direction="max".')
    functions.check(function, plan.space.names)
    facts = place.facts(plan.max_evals)
    with tempfile.TemporaryDirectory(prefix="hpcsearch-experiment-") as name:
        folder = Path(name)
        call = functions.Call(function, plan.space.names, plan.space.objects, plan.needs_metric)
        functions.save(call, folder)
        (folder / "run.py").write_text(functions.RUN, encoding="utf-8")
        (folder / "problem.py").write_text(plan.space.problem(plan.direction == "min"), encoding="utf-8")
        experiment = _submitted(plan, place, facts, folder)
    return experiment.wait() if place.wait else experiment


def _submitted(plan: Plan, place: Place, facts: Mapping[str, Any], folder: Path) -> Experiment:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name or plan.title.lower()).strip("-.")[:90] or "experiment"
    steps = Steps(None if place.here else sys.stdout)
    for attempt in range(1, _ATTEMPTS + 1):
        request = Request(
            free_name(workflows_root(facts.get("root")), stem),
            str(folder / "problem.py"),
            str(folder / "run.py"),
            search=plan.search,
            search_arguments=plan.arguments,
            max_evals=plan.max_evals,
            source=str(folder),
            **{"yes": True, **facts},
        )
        try:
            submitted = submit_request(request, steps)
        except NameTakenError:
            if attempt == _ATTEMPTS:
                raise
            continue
        except LoadError as error:  # of a file that the user has not seen
            message = error.message.replace(f"{folder}/", "")
            raise UsageError(re.sub(r"^problem\.py, line \d+: ", "", message), error.hint) from None
        if place.here:
            together = f", {request.evals_per_node} at once" if request.evals_per_node > 1 else ""
            print(f"{plan.title}: {counted(plan.max_evals)}{together}, in {submitted.layout.root}", flush=True)
        return Experiment(plan.title, plan.direction, plan.space, submitted)
    raise AssertionError("the loop returns or raises")
