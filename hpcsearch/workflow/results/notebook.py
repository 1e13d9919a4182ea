"""A workflow as a notebook shows it: how it stands, and its best configurations."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import State

if TYPE_CHECKING:
    from hpcsearch.workflow.workflow import Record, Workflow

_SHOWN = 5


def html_of(workflow: Workflow) -> str:
    """A few lines of HTML, without scripts or styles of their own."""
    try:
        name, counts, best = workflow.name, workflow.counts(), workflow.best(_SHOWN)
    except HpcsearchError as error:  # what is shown in passing does not fail
        return f"<p><b>Workflow</b> in <code>{escape(str(workflow.directory))}</code>: {escape(error.message)}</p>"
    states = ", ".join(f"{count} {state.value}" for state in State if (count := counts.get(state))) or "no evaluations"
    head = f"<p><b>Workflow {escape(name)}</b> in <code>{escape(str(workflow.directory))}</code><br>{states}</p>"
    return head + (_table(best) if best else "")


def _table(best: list[Record]) -> str:
    names = sorted({name for record in best for name in record.config})
    header = "".join(f"<th>{escape(name)}</th>" for name in ("id", "objective", *names))
    rows = "".join(f"<tr>{''.join(_cells(record, names))}</tr>" for record in best)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(record: Record, names: list[str]) -> list[str]:
    values: list[Any] = [record.id, record.objective, *(record.config.get(name, "") for name in names)]
    return [f"<td>{escape(f'{value:.6g}' if isinstance(value, float) else str(value))}</td>" for value in values]
