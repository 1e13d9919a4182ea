"""The report: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from hpcsearch.evaluation import State
from hpcsearch.figures import axes, plots
from hpcsearch.figures.curves import curves
from hpcsearch.figures.importance import importance
from hpcsearch.figures.progress import progress
from hpcsearch.figures.rerun import rerun_script
from hpcsearch.figures.study import Study
from hpcsearch.figures.thinning import note
from hpcsearch.figures.utilisation import utilisation
from hpcsearch.monitor import text
from hpcsearch.monitor.nodes import node_hours

#: Of the best configurations, of reasons for failures, and of the evaluations that show each hyperparameter.
BEST, FAILURES, POINTS = 50, 20, 1500

#: The points of all hyperparameters together: with very many of them each gets fewer.
_ALL_POINTS = 60_000

#: More hyperparameters than these are not told apart on one figure of parallel coordinates.
_PARALLEL = 20


@dataclass(frozen=True)
class Figure:
    """One figure of a section, or the sentence that stands in its place."""

    id: str
    plot: plots.Plot | None
    note: str = ""
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and its figures; ``small`` ones stand side by side."""

    id: str
    title: str
    figures: tuple[Figure, ...]
    small: bool = False


def page(study: Study) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    sections = list(_sections(study))
    figures = [figure for section in sections for figure in section.figures if figure.plot]
    return environment.get_template("page.html.j2").render(
        name=study.snapshot.name,
        facts=_facts(study),
        sections=sections,
        best=_best(study),
        failures=study.failures[:FAILURES],
        more_failures=len(study.failures) - FAILURES,
        script=rerun_script(study),
        written_at=text.local_time(study.snapshot.taken_at),
        plotly=get_plotlyjs(),
        plots=_script_json([{"id": figure.id, **(figure.plot or {})} for figure in figures]),
    )


def _sections(study: Study) -> Iterator[Section]:
    data = progress(study)
    found = Figure("objective", plots.objective(study, data), data.note) if len(study.valued) else _nothing("objective")
    yield Section("objective", "Objective over time", (found,))
    known = axes.axes(study)
    drawn = axes.drawn(study, min(POINTS, _ALL_POINTS // max(1, len(known))), BEST)
    said = note(len(drawn), len(study.valued), f"the {BEST} best")
    zoom = f"A double click on a figure shows objectives that lie far from the others, too. {said}"
    if len(drawn) and known:
        fits = known[:_PARALLEL]
        left = f" The first {_PARALLEL} of {len(known)} hyperparameters are shown." if len(known) > len(fits) else ""
        help_ = "Drag along an axis to see those evaluations alone; drag a name to move its axis. "
        help_ += "Dark is best; what was inactive lies below its axis."
        figure = Figure("parallel", plots.parallel(study, fits, drawn), f"{help_} {said}{left}")
        yield Section("parallel", "Parallel coordinates", (figure,))
        each = (Figure(f"hp-{place}", plots.hyperparameter(study, one, drawn)) for place, one in enumerate(known))
        yield Section("hyperparameters", "Each hyperparameter", (*each, Figure("", None, zoom)), small=True)
    weights = importance(study)
    if isinstance(weights, str):
        figure = Figure("importance", None, weights)
    else:
        how = f"Without shuffling, its R² is {weights.accuracy:.2f}"
        figure = Figure("importance", plots.importance(weights), f"{weights.note} {how}{_doubt(weights.accuracy)}.")
    yield Section("importance", "Importance of hyperparameters", (figure,))
    lines = tuple(Figure(f"curve-{place}", plots.curves(one), one.note) for place, one in enumerate(curves(study)))
    missing = Figure("curves", None, "No evaluation has reported a metric; a run function does with hpcsearch.report.")
    yield Section("curves", "Learning curves", lines or (missing,))
    nodes = utilisation(study)
    shown = None if nodes is None else plots.utilisation(nodes)
    yield Section("utilisation", "Nodes over time", (Figure("utilisation", shown, _hours(study)),))


def _nothing(identity: str) -> Figure:
    return Figure(identity, None, "No evaluation has an objective yet.")


def _doubt(accuracy: float) -> str:
    return ": too low to rely on the order" if accuracy < 0.3 else ""


def _hours(study: Study) -> str:
    if not study.snapshot.nodes:
        return "No allocation has begun yet."
    hours = node_hours(study.snapshot.nodes)
    return (
        f"{text.number(round(hours.held, 3))} node-hours held, {text.number(round(hours.busy, 3))} of them busy, "
        f"{text.number(round(hours.given_back, 3))} given back before the end."
    )


def _facts(study: Study) -> list[tuple[str, str]]:
    snapshot, row = study.snapshot, study.row
    best = snapshot.best
    sense = "lower is better" if study.minimize else "higher is better"
    budget = f" of {snapshot.max_evals}" if snapshot.max_evals else ""
    counts = ", ".join(f"{snapshot.counts[state]} {state.value}" for state in State if snapshot.counts.get(state))
    facts = [
        ("Directory", str(snapshot.directory)),
        ("Search", f"{snapshot.search}; {sense}"),
        ("Evaluations", f"{snapshot.ended}{budget} ended ({counts or 'none yet'})"),
        ("Best", f"{text.number(best.objective)} (evaluation {best.id})" if best else "none yet"),
        ("Problem", row["problem"]),
        ("Run function", row["run"]),
        ("Begun", text.local_time(snapshot.started_at)),
        ("Ended", text.local_time(snapshot.finished_at)),
        ("Outcome", snapshot.outcome),
    ]
    return [(name, value) for name, value in facts if value]


@dataclass(frozen=True)
class Cell:
    """What a table shows, and the value that it is sorted by."""

    text: str
    key: Any


def _best(study: Study) -> dict[str, Any]:
    names = list(study.table.configurations)
    columns = study.table.columns
    rows = []
    for index in study.ranked[:BEST]:
        point = study.configuration(int(index))
        identity, objective, duration_s = (columns[name][index] for name in ("id", "objective", "duration_s"))
        cells = [Cell(str(identity), identity), Cell(text.number(objective), objective)]
        cells += [Cell(axes.shown(point[name]) if name in point else "", _key(point.get(name))) for name in names]
        rows.append([*cells, Cell(text.number(duration_s), duration_s)])
    return {"header": ["Id", "Objective", *names, "Duration (s)"], "rows": rows, "finished": len(study.ranked)}


def _key(value: Any) -> Any:
    return "" if value is None else value


def _script_json(values: Sequence[Any]) -> str:
    """JSON that stands in a script element: what could end that is spelt out."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
