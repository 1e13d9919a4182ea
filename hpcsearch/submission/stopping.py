"""What can be said against a stopping rule before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.runfunction import Reference
from hpcsearch.search.plugins import is_file
from hpcsearch.search.stopping import NONE, check
from hpcsearch.search.stopping.metric import Metric
from hpcsearch.submission.request import Request


def refuse_stopper(request: Request) -> None:
    """Checks the rule of a new search; one in a file is loaded later, where the problem is.

    Raises:
        SearchError: it is unknown, or does not take these arguments.
        UsageError: without the problem it cannot be known which values are better.
    """
    if not is_file(request.stopper):
        check(request.stopper, request.stopper_arguments)
    metric = Metric.parse(request.stopper_metric)
    if request.no_import and request.stopper != NONE and not metric.direction:
        raise UsageError(
            "With --no-import it is not known here whether a stopping rule is to prefer large or small values.",
            f"Type --stopper-metric {metric.name or 'NAME'}:max or {metric.name or 'NAME'}:min.",
        )


def located(stopper: str, cwd: Path) -> str:
    """The rule's name, with the whole path of a file."""
    return str(Reference.parse(stopper, stopper.rpartition(":")[2], cwd)) if is_file(stopper) else stopper


def changed_stopper(changed: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a search that goes on has of its rule, when something of that is changed; another rule has settings anew.

    Raises:
        SearchError: it is unknown, or does not take these arguments.
        LoadError: it is in a file that cannot be loaded.
    """
    if "stopper" not in changed and "stopper_arguments" not in changed:
        return {}
    stopper = located(changed.get("stopper", before["stopper"]), Path.cwd())
    own = {} if stopper != before["stopper"] else before["stopper_arguments"]
    arguments = {**own, **changed.get("stopper_arguments", {})}
    check(stopper, arguments)
    return {"stopper": stopper, "stopper_arguments": arguments}
