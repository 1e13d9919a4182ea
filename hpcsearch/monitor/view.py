"""A snapshot as a page for people, as JSON, or as a line of CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpcsearch.evaluation import State
from hpcsearch.monitor import text
from hpcsearch.monitor.allocations import AllocationView
from hpcsearch.monitor.nodes import TROUBLE, NodeView, node_hours, states_in_words
from hpcsearch.monitor.snapshot import Snapshot
from hpcsearch.sites.duration import format_duration


def show_status(snapshot: Snapshot, form: str, each_node: bool = False) -> None:
    """Prints one workflow; ``form`` is table, json or csv. ``each_node`` adds a line for each node to the table."""
    if form == "json":
        text.print_json(status_values(snapshot))
    elif form == "csv":
        text.print_csv(COLUMNS, [columns(snapshot)])
    else:
        for line in status_lines(snapshot, text.style_of_output(), each_node):
            print(line)


def status_lines(snapshot: Snapshot, style: text.Style, each_node: bool) -> Iterator[str]:
    """One workflow as a page."""
    yield from text.table_lines(None, _facts(snapshot), style)
    if snapshot.allocations:
        yield ""
        yield from text.table_lines(_ALLOCATIONS, [_allocation(one) for one in snapshot.allocations], style)
    if each_node and snapshot.nodes:
        yield ""
        yield from text.table_lines(_NODES, [_node(one) for one in snapshot.nodes], style)


def state_of(snapshot: Snapshot) -> str:
    """How the search stands, in one word."""
    if snapshot.finished_at is not None:
        return "done"
    standings = [allocation.standing.value for allocation in snapshot.live]
    if standings:
        return "running" if "running" in standings else standings[-1]
    return "empty" if snapshot.last is None else snapshot.last.standing.value


#: What a line of CSV has, and an entry of the list as JSON.
COLUMNS = (
    *("workflow", "state", "outcome", "search", "minimize", "max_evals", "ended"),
    *(state.value for state in State),
    *("slots", "slots_busy", "best", "best_id", "created", "started", "finished", "directory", "error"),
)


def columns(snapshot: Snapshot) -> dict[str, Any]:
    """A workflow's values by ``COLUMNS``, but for ``error``, which only one that cannot be read has."""
    values = status_values(snapshot)
    best = snapshot.best
    own = {"best": None if best is None else best.objective, "best_id": None if best is None else best.id}
    return {name: value for name, value in {**values, **values["counts"], **own}.items() if name in COLUMNS}


def status_values(snapshot: Snapshot) -> dict[str, Any]:
    """What ``status --format json`` prints."""
    best = snapshot.best
    return {
        "workflow": snapshot.name,
        "directory": str(snapshot.directory),
        "state": state_of(snapshot),
        "outcome": snapshot.outcome,
        "search": snapshot.search,
        "minimize": snapshot.minimize,
        "max_evals": snapshot.max_evals,
        "max_success": snapshot.max_success,
        "ended": snapshot.ended,
        "counts": {state.value: snapshot.counts.get(state, 0) for state in State},
        "slots": snapshot.slots,
        "slots_busy": snapshot.slots_busy,
        "best": None if best is None else {"id": best.id, "objective": best.objective, "configuration": best.config},
        "created": text.iso_time(snapshot.created_at),
        "started": text.iso_time(snapshot.started_at),
        "finished": text.iso_time(snapshot.finished_at),
        "allocations": [_allocation_values(allocation) for allocation in snapshot.allocations],
        "node_hours": vars(node_hours(snapshot.nodes)),
        "nodes": [_node_values(node) for node in snapshot.nodes],
    }


def _allocation_values(allocation: AllocationView) -> dict[str, Any]:
    times = {name: text.iso_time(getattr(allocation, f"{name}_at")) for name in ("submitted", "started", "ended")}
    names = ("number", "site", "scheduler", "scheduler_id", "queue", "account", "nodes", "walltime_s", "job_mode")
    values = {name: getattr(allocation, name) for name in names}
    rest = {"reason": allocation.reason, "time_left_s": allocation.time_left_s, "can_run": allocation.can_run}
    return {**values, **times, "standing": allocation.standing.value, **rest}


def _node_values(node: NodeView) -> dict[str, Any]:
    times = {name: text.iso_time(getattr(node, f"{name}_at")) for name in ("held_from", "held_to")}
    return {**{name: value for name, value in vars(node).items() if not name.endswith("_at")}, **times}


def _facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    best, counts = snapshot.best, snapshot.counts
    stopper = snapshot.settings.get("stopper", "none")
    goal = "minimises" if snapshot.minimize else "maximises"
    budget = "no limit" if snapshot.max_evals is None else f"{snapshot.max_evals}"
    if snapshot.max_success is not None:
        budget += f", or until {snapshot.max_success} have succeeded"
    rows = [
        ("Workflow", f"{snapshot.name}, in {snapshot.directory}"),
        ("State", state_of(snapshot) + (f": {snapshot.outcome}" if snapshot.outcome else "")),
        ("Search", f"{snapshot.search}, {goal}" + (f", stopping rule {stopper}" if stopper != "none" else "")),
        ("Evaluations", f"{snapshot.ended} ended; budget: {budget}"),
        ("", ", ".join(f"{counts[state]} {state.value}" for state in State if counts.get(state)) or "none yet"),
    ]
    if snapshot.slots:
        rows.append(("Slots", f"{snapshot.slots_busy} of {snapshot.slots} busy"))
    if best is not None:
        where = f"evaluation {best.id}: {text.configuration(best.config)}"
        rows.append(("Best", f"{text.number(best.objective)} ({where})"))
    return rows + _node_facts(snapshot)


def _node_facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    if not snapshot.nodes:
        return []
    latest = snapshot.nodes[-1].allocation
    hours = node_hours(snapshot.nodes)
    share = f" ({hours.busy / hours.held:.0%})" if hours.held else ""
    rows = [
        ("Nodes", states_in_words(node for node in snapshot.nodes if node.allocation == latest)),
        ("Node-hours", f"{hours.held:.3g} held, {hours.busy:.3g} busy{share}, {hours.given_back:.3g} given back early"),
    ]
    for node in snapshot.nodes:
        if node.state in TROUBLE:
            rows.append(("", f"{node.name} {node.state} in allocation {node.allocation}: {node.reason}".rstrip(": ")))
    return rows


_ALLOCATIONS = tuple("Allocation State Id Queue Nodes Walltime Left Submitted Started Ended Why".split())


def _allocation(one: AllocationView) -> tuple[str, ...]:
    return (
        str(one.number),
        one.standing.value,
        one.scheduler_id or "",
        one.queue,
        str(one.nodes),
        format_duration(int(one.walltime_s)),
        "" if one.time_left_s is None else format_duration(int(one.time_left_s)),
        text.local_time(one.submitted_at),
        text.local_time(one.started_at),
        text.local_time(one.ended_at),
        one.reason,
    )


_NODES = ("Allocation", "Node", "State", "Slots", "From", "To", "Held", "Busy", "Given back", "Why")


def _node(node: NodeView) -> tuple[str, ...]:
    return (
        str(node.allocation),
        node.name,
        node.state,
        str(node.slots or ""),
        text.local_time(node.held_from_at),
        text.local_time(node.held_to_at),
        format_duration(int(node.held_s)),
        f"{node.busy_s / node.held_s:.0%}" if node.held_s else "",
        format_duration(int(node.given_back_s)) if node.state == "given back" else "",
        node.reason,
    )
