"""From a request to a submitted allocation: checks, the workflow's directory, the job; all of it, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcsearch.submission.api import submit
    from hpcsearch.submission.request import Request

__all__ = ["Request", "submit"]

_HOMES = {"submit": "hpcsearch.submission.api", "Request": "hpcsearch.submission.request"}


def __getattr__(name: str) -> Any:
    # The children that check a user's files import this package: it must cost them nothing.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
