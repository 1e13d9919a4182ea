"""One directory per workflow: where things lie in it, its database, and what is read from both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcsearch.workflow.workflow import Workflow, open_workflow

__all__ = ["Workflow", "open_workflow"]


def __getattr__(name: str) -> Any:
    # Commands that need a workflow's paths alone must not wait for SQLAlchemy.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hpcsearch.workflow import workflow

    return getattr(workflow, name)
