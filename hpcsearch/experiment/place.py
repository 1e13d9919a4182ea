"""Where experiments run: on this machine at once, or in an allocation of a site."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hpcsearch import settings
from hpcsearch.errors import UsageError
from hpcsearch.sites.duration import parse_duration
from hpcsearch.sites.find import LOCAL, find_site
from hpcsearch.sites.model import did_you_mean
from hpcsearch.submission.request import Request
from hpcsearch.worker.environment import visible_gpus

_LONGEST_S = 30 * 24 * 3600

#: What is said by a parameter of its own, here or in the functions, or by the function that is called.
_OWN = frozenset({"workflow", "problem", "run", "search", "search_arguments", "max_evals", "walltime_s", "source"})


@dataclass(frozen=True)
class Place:
    """Where and how an experiment runs.

    Attributes:
        site: the machine; None is the one that this is.
        queue: the site's queue.
        account: whom it is charged to.
        nodes: how many nodes.
        walltime: ``"1:30:00"``, or minutes.
        name: the workflow's name; a number follows when it is taken. By default it is called like the function.
        wait: whether a call comes back when the experiment has ended, or as soon as it is submitted.
        options: further fields of :class:`hpcsearch.submission.Request`.
    """

    site: str | None = None
    queue: str | None = None
    account: str | None = None
    nodes: int = 1
    walltime: str | int | None = None
    name: str | None = None
    wait: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Self:
        """The same with some things changed.

        Raises:
            UsageError: nothing is called so.
        """
        check_options(changes)
        own = {name: value for name, value in changes.items() if name not in _OPTIONS}
        more = {name: value for name, value in changes.items() if name in _OPTIONS}
        return dataclasses.replace(self, **own, options={**self.options, **more})

    @property
    def here(self) -> bool:
        """Whether it runs on this machine, without a batch system."""
        if self.site is None and _default("queue", self.queue) is None:
            return find_site().name == LOCAL
        return LOCAL in (self.site, self.queue)

    @property
    def at_once(self) -> int:
        """How many evaluations run at once, where there are enough of them."""
        by_default = _cores_or_gpus() if self.here else 1
        return self.nodes * int(self.options.get("evals_per_node", by_default))

    def facts(self, evaluations: int) -> dict[str, Any]:
        """What a request says of it; ``evaluations`` is how many there are to be run.

        Raises:
            UsageError: there is no queue, or the walltime is none.
        """
        if self.here:
            found = {"site": LOCAL, "queue": LOCAL, "account": "none", "walltime_s": _LONGEST_S, **_shares(evaluations)}
        else:
            found = {"site": self.site, "queue": _default("queue", self.queue), "account": "", "walltime_s": 3600}
            found["account"] = _default("account", self.account) or ""
            if not found["queue"]:
                raise UsageError("An allocation needs a queue.", 'Write experiment.on(queue="debug", ...).')
        if self.walltime is not None:
            found["walltime_s"] = _seconds(self.walltime)
        processes = [self.options.get(name, 1) for name in ("evals_per_node", "ranks_per_node")]
        if self.here and all(isinstance(number, int) for number in processes):
            found["bind"] = math.prod(processes) <= _cores()
        return {**found, "nodes": self.nodes, **self.options}

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _entered.set(_entered.get()[:-1])


#: Options of requests that are fields of their own here come before.
_FIELDS = frozenset(one.name for one in dataclasses.fields(Place)) - {"options"}
_OPTIONS = frozenset(one.name for one in dataclasses.fields(Request)) - _OWN - _FIELDS


def check_options(given: Iterable[str], more: Iterable[str] = ()) -> None:
    """Raises UsageError for an option that is neither one of an experiment's nor one ``more``."""
    known = sorted(_FIELDS | _OPTIONS | set(more))
    for name in given:
        if name not in known:
            raise UsageError(f"There is no option {name!r}{did_you_mean(name, known)}", f"Known: {', '.join(known)}.")


_entered: ContextVar[tuple[Place, ...]] = ContextVar("places", default=())


def current() -> Place:
    """The place of the innermost ``with experiment.on(...)``; else this machine."""
    return (Place(site=LOCAL), *_entered.get())[-1]


def _shares(evaluations: int) -> dict[str, int]:
    """As many evaluations at once as there are GPUs, or cores where there are none."""
    return {"evals_per_node": max(1, min(evaluations, _cores_or_gpus()))}


def _cores_or_gpus() -> int:
    return len(visible_gpus(os.environ)) or _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _default(name: str, given: str | None) -> str | None:
    if given is not None:
        return given
    default = settings.default(name)
    return default.value if default else None


def _seconds(walltime: str | int) -> int:
    text = str(walltime)
    if re.fullmatch(r"\d+", text):
        return int(text) * 60
    try:
        return parse_duration(text)
    except ValueError:
        raise UsageError(
            f"{walltime!r} is no walltime.", 'Write walltime="1:30:00", or minutes: walltime=90.'
        ) from None
