"""The best evaluations, as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hpcsearch.evaluation import State
from hpcsearch.monitor import text
from hpcsearch.workflow.workflow import Record


def show_results(workflow: str, best: Sequence[Record], counts: Mapping[State, int], form: str) -> None:
    """Prints ``best`` in their order; ``form`` is table, json or csv."""
    {"table": _table, "json": _json, "csv": _csv}[form](workflow, best, counts)


def show_pareto(workflow: str, front: Sequence[Record], goals: Sequence[str], form: str) -> None:
    """Prints a Pareto front in its order, with its ``goals``; ``form`` is table, json or csv."""
    if form != "table":
        {"json": _json, "csv": _csv}[form](workflow, front, {})
        return
    if not front:
        print(f"No evaluation of {workflow!r} has finished yet.")
        return
    names, shown = _names(front), [goal.strip() for goal in goals]
    rows = []
    for record in front:
        values = [record.objective if goal == "objective" else record.metadata[goal] for goal in shown]
        rows.append((str(record.id), *map(text.number, values), *(_value(record, name) for name in names)))
    text.print_table(("Id", *("Objective" if goal == "objective" else goal for goal in shown), *names), rows)
    print(f"{len(front)} finished evaluation{'s' * (len(front) != 1)} that no other one beats in {', '.join(shown)}.")


def _names(best: Sequence[Record]) -> list[str]:
    return sorted({name for record in best for name in record.config})


def _table(workflow: str, best: Sequence[Record], counts: Mapping[State, int]) -> None:
    finished, failed = counts.get(State.FINISHED, 0), counts.get(State.FAILED, 0)
    if not best:
        how = f"{failed} failed" if failed else "none has ended"
        print(f"No evaluation of {workflow!r} has finished yet ({how}).")
        return
    names = _names(best)
    rows = [
        (str(record.id), text.number(record.objective), *(_value(record, name) for name in names), _seconds(record))
        for record in best
    ]
    text.print_table(("Id", "Objective", *names, "Duration"), rows)
    print(f"The best {len(best)} of {finished} finished evaluations" + (f"; {failed} failed." if failed else "."))


def _value(record: Record, name: str) -> str:
    value = record.config.get(name, "")
    return text.number(value) if isinstance(value, float) else str(value)


def _seconds(record: Record) -> str:
    return "" if record.duration_s is None else f"{text.number(record.duration_s)} s"


def _json(workflow: str, best: Sequence[Record], counts: Mapping[State, int]) -> None:
    text.print_json([_values(record) for record in best])


def _values(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "objective": record.objective,
        "configuration": dict(record.config),
        "metadata": dict(record.metadata),
        "duration_s": record.duration_s,
        "node": record.node,
        "started": text.iso_time(record.started_at),
        "ended": text.iso_time(record.ended_at),
    }


def _csv(workflow: str, best: Sequence[Record], counts: Mapping[State, int]) -> None:
    names = _names(best)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*names, "id", "objective", "duration"])
    for record in best:
        cells = (record.config.get(name, "") for name in names)
        writer.writerow([*cells, record.id, record.objective, record.duration_s])
