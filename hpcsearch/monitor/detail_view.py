"""One evaluation as a page for people, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpcsearch.evaluation import State
from hpcsearch.monitor import text
from hpcsearch.monitor.detail import Attempt, Detail

#: Of reports and files so many are listed, the last reports and the first files; JSON has them all.
_LISTED = 10


def show_detail(detail: Detail, form: str) -> None:
    """Prints one evaluation; ``form`` is table or json."""
    if form == "json":
        text.print_json(_values(detail))
        return
    style = text.style_of_output()
    for line in detail_lines(detail, style):
        print(line)


def detail_lines(detail: Detail, style: text.Style) -> Iterator[str]:
    """One evaluation as a page."""
    yield from text.table_lines(None, _facts(detail), style)
    for title, lines in (
        ("Attempts", _attempts),
        ("Reports", _reports),
        ("Traceback", _traceback),
        ("Files", _files),
        ("Output", _output),
    ):
        yield from lines(detail, title, style)


def _facts(detail: Detail) -> list[tuple[str, str]]:
    record = detail.record
    failure = record.failure
    rows = [
        ("Evaluation", f"{record.id} of {detail.workflow}"),
        ("State", record.state.value),
        (_value_title(record.state), "none" if record.objective is None else text.exact(record.objective)),
        *_mapping("Configuration", record.config),
        *_mapping("Metadata", record.metadata),
    ]
    if failure is not None:
        stopped = record.state is State.STOPPED
        why = failure.message if stopped else f"{failure.kind}: {failure.message}"
        rows.append(("Why" if stopped else "Error", text.exact(why)))
    if record.duration_s is not None:
        rows.append(("Duration", f"{text.number(record.duration_s)} s"))
    return rows


def _value_title(state: State) -> str:
    """Of one that was stopped early it is that of a part."""
    return "Last value" if state is State.STOPPED else "Objective"


def _mapping(title: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    width = max(map(len, values), default=0)
    lines = [f"{name:{width}}  {text.exact(values[name])}" for name in sorted(values)]
    return [(title if number == 0 else "", line) for number, line in enumerate(lines)]


def _attempts(detail: Detail, title: str, style: text.Style) -> Iterator[str]:
    if detail.attempts:
        yield ""
        header = ("Attempt", "State", "Node", "Slot", "Allocation", "Started", "Ended", "Duration", "Why")
        yield from text.table_lines(header, [_attempt(one) for one in detail.attempts], style)


def _attempt(one: Attempt) -> tuple[str, ...]:
    why = f"{one.error_kind}: {one.error_message or ''}" if one.error_kind else ""
    return (
        str(one.number),
        one.state.value,
        one.nodes or one.node,
        _slot(one),
        str(one.allocation),
        text.local_time(one.started_at),
        text.local_time(one.ended_at),
        "" if one.duration_s is None else f"{text.number(one.duration_s)} s",
        text.exact(why),
    )


def _slot(one: Attempt) -> str:
    if one.slot is None:
        return ""
    return f"{one.slot}, first of {one.slots}" if (one.slots or 1) > 1 else str(one.slot)


def _reports(detail: Detail, title: str, style: text.Style) -> Iterator[str]:
    reports = detail.record.reports
    if not reports:
        return
    names = list(dict.fromkeys(name for report in reports for name in report.metrics))
    rows = [
        (
            str(report.attempt),
            text.number(report.step),
            text.local_time(report.at),
            *(text.exact(report.metrics.get(name, "")) for name in names),
        )
        for report in reports[-_LISTED:]
    ]
    yield from _title(title, len(rows), len(reports), "last")
    yield from text.table_lines(("Attempt", "Step", "Time", *names), rows, style)


def _traceback(detail: Detail, title: str, style: text.Style) -> Iterator[str]:
    failure = detail.record.failure
    if failure is not None and failure.traceback:
        yield from ("", title)
        yield from (f"  {text.printable(line)}" for line in failure.traceback.rstrip().splitlines())


def _files(detail: Detail, title: str, style: text.Style) -> Iterator[str]:
    listed = detail.files[:_LISTED]
    if listed:
        yield from _title(f"{title} in {detail.directory}", len(listed), len(detail.files), "first")
        yield from text.table_lines(None, [(f"{size}", text.printable(name)) for name, size in listed], style)


def _output(detail: Detail, title: str, style: text.Style) -> Iterator[str]:
    if detail.last_lines:
        yield from ("", f"{title}, its last lines; all of it: hpcsearch logs {detail.typed} {detail.record.id}")
        yield from (f"  {text.printable(line)}" for line in detail.last_lines)
    elif detail.record.state is not State.PROPOSED:
        yield from ("", "It has printed nothing.")


def _title(title: str, listed: int, total: int, which: str) -> tuple[str, str]:
    return "", title + (f" (the {which} {listed} of {total})" if listed < total else "")


def _values(detail: Detail) -> dict[str, Any]:
    record = detail.record
    names = ("objective", "allocation", "node", "slot", "duration_s")
    return {
        "workflow": detail.workflow,
        "id": record.id,
        "state": record.state.value,
        **{name: getattr(record, name) for name in names},
        "configuration": record.config,
        "metadata": dict(record.metadata),
        "error": None if record.failure is None else vars(record.failure),
        **_times(record),
        "attempts": [
            {**{name: value for name, value in vars(one).items() if not name.endswith("_at")}, **_times(one)}
            for one in detail.attempts
        ],
        "reports": [{**vars(report), "at": text.iso_time(report.at)} for report in record.reports],
        "directory": str(detail.directory),
        "files": [{"path": path, "size_bytes": size} for path, size in detail.files],
        "last_lines": list(detail.last_lines),
    }


def _times(what: Any) -> dict[str, str | None]:
    return {name: text.iso_time(getattr(what, f"{name}_at")) for name in ("started", "ended")}
