"""The list of all workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcsearch.errors import HpcsearchError
from hpcsearch.monitor import text
from hpcsearch.monitor.allocations import Heard
from hpcsearch.monitor.snapshot import Snapshot, hear_schedulers, take_snapshot
from hpcsearch.monitor.view import COLUMNS, columns, state_of
from hpcsearch.workflow.layout import Layout, list_layouts, workflows_root

#: A workflow as it stands, or why it cannot be read.
_Seen = Snapshot | HpcsearchError
Found = dict[Layout, _Seen]


def show_list(root: str | None, form: str) -> None:
    """Prints all workflows under ``root``; ``form`` is table, json or csv."""
    found = read_all(root)
    if form == "json":
        text.print_json(values(found))
    elif form == "csv":
        text.print_csv(COLUMNS, values(found))
    else:
        for line in lines(found, root, text.style_of_output()):
            print(line)


def read_all(root: str | None) -> Found:
    """Each workflow under ``root`` as it stands."""
    return _look(list_layouts(root))


def values(found: Found) -> list[dict[str, Any]]:
    """Each workflow by ``COLUMNS``."""
    return [_values(*one) for one in found.items()]


def lines(found: Found, root: str | None, style: text.Style) -> list[str]:
    """The workflows as a table."""
    if not found:
        return [f"No workflows in {workflows_root(root)} yet. Type 'hpcsearch submit hps --help' to begin one."]
    header = ("Workflow", "State", "Search", "Ended", "Budget", "Best", "Created", "")
    return text.table_lines(header, [_cells(*one) for one in found.items()], style)


def _look(layouts: Sequence[Layout]) -> Found:
    """The scheduler is asked, once, of those that may still be worked on."""
    seen = {layout: _take(layout, {}) for layout in layouts}
    live = [layout for layout, one in seen.items() if isinstance(one, Snapshot) and one.live]
    heard = hear_schedulers(live)
    return seen | {layout: _take(layout, heard.get(layout, {})) for layout in live}


def _take(layout: Layout, heard: Heard) -> _Seen:
    try:
        return take_snapshot(layout, heard)
    except HpcsearchError as error:  # one that cannot be read must not hide the others
        return error


def _values(layout: Layout, seen: _Seen) -> dict[str, Any]:
    if isinstance(seen, HpcsearchError):
        return {"workflow": layout.name, "directory": str(layout.root), "error": seen.message}
    return {**columns(seen), "workflow": layout.name}


def _cells(layout: Layout, seen: _Seen) -> tuple[str, ...]:
    if isinstance(seen, HpcsearchError):
        return layout.name, "", "", "", "", "", "", seen.message
    return (
        layout.name,
        state_of(seen),
        seen.search,
        str(seen.ended),
        "" if seen.max_evals is None else str(seen.max_evals),
        "" if seen.best is None else text.number(seen.best.objective),
        text.local_time(seen.created_at),
        "",
    )
