"""Each figure as plotly.js takes it: data and layout, plain values alone.

The page calls plotly.js itself, so plotly's Python classes, which take seconds for large figures, are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hpcsearch.figures import axes, study
from hpcsearch.figures.curves import Curves
from hpcsearch.figures.importance import Importance
from hpcsearch.figures.progress import Progress
from hpcsearch.figures.utilisation import Utilisation

Plot = dict[str, Any]

#: Blue for what was found, grey for the rest, and a scale on which the best are the darkest.
BEST, POINT, PALE, GIVEN_BACK = "#0b5394", "#6fa8dc", "#b7b7b7", "#93c47d"
SCALE = [[0.0, "#08306b"], [0.15, "#2171b5"], [0.5, "#9ecae1"], [1.0, "#eeeeee"]]


def objective(one: study.Study, data: Progress) -> Plot:
    """The objective over time."""
    unit_s, unit = unit_of(one)
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "evaluation",
        "marker": {"color": POINT, "size": 5},
        "x": _list(one.elapsed_s[data.shown] / unit_s),
        "y": _list(one.objective[data.shown]),
        "text": [f"evaluation {one.ids[index]}<br>{_escaped(axes.text_of(one, index))}" for index in data.shown],
        "hovertemplate": "%{y:.6g}<br>%{text}<extra></extra>",
    }
    stairs = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "line": {"color": BEST, "shape": "hv", "width": 2},
        "x": _list(data.best_at_s / unit_s),
        "y": _list(data.best),
        "hovertemplate": "best so far %{y:.6g}<extra></extra>",
    }
    return _plot([points, stairs], 420, {"title": f"{unit} since the search began"}, {"title": "objective"})


def parallel(one: study.Study, known: Sequence[axes.Axis], drawn: study.Indices) -> Plot:
    """Parallel coordinates: a line an evaluation, which can be brushed on every axis."""
    values = one.objective[drawn]
    order = np.argsort(values if not one.minimize else -values, kind="stable")  # the best are drawn last, on top
    drawn, values = drawn[order], values[order]
    dimensions = [_dimension(each, drawn) for each in known]
    dimensions.append({"label": "objective", "values": _list(values)})
    line = {
        "color": _list(values),
        "colorscale": SCALE,
        "reversescale": not one.minimize,
        "showscale": True,
        **dict(zip(("cmin", "cmax"), range_of(values), strict=True)),
    }
    trace = {"type": "parcoords", "line": line, "dimensions": dimensions, "labelangle": -20}
    return {"data": [trace], "layout": {**_LOOKS, "height": 480, "margin": {"l": 80, "r": 40, "t": 90, "b": 40}}}


def _dimension(each: axes.Axis, drawn: study.Indices) -> Plot:
    positions = each.positions[drawn]
    dimension: Plot = {"label": _escaped(each.name)}
    if each.categories:
        places = list(range(len(each.categories)))
        ticks = {"tickvals": places, "ticktext": [_escaped(one[:24]) for one in each.categories]}
        return {**dimension, **ticks, "values": _list(positions), "range": [-0.2, len(places) - 0.8]}
    if each.log:
        powers = axes.ticks_of_log(positions)
        logs = np.log10(positions)
        text = [f"{tick:g}" for tick in powers]
        return {**dimension, "tickvals": _list(np.log10(powers)), "ticktext": text, "values": _filled(logs)}
    return {**dimension, "values": _filled(positions)}


def _filled(positions: study.Numbers) -> list[float | None]:
    """Parallel coordinates know no gaps: what is inactive lies below all others."""
    known = positions[~np.isnan(positions)]
    if len(known) == len(positions):
        return _list(positions)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return _list(np.where(np.isnan(positions), low - 0.1 * ((high - low) or 1.0), positions))


def hyperparameter(one: study.Study, each: axes.Axis, drawn: study.Indices) -> Plot:
    """The objective over one hyperparameter."""
    positions = each.positions[drawn]
    x: list[Any] = _list(positions)
    horizontal: Plot = {"title": _escaped(each.name)}
    if each.categories:
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(drawn))  # else all lie on each other
        x = _list(np.round(positions + spread, 3))
        ticks = {"tickvals": list(range(len(each.categories)))}
        horizontal |= {**ticks, "ticktext": [_escaped(name[:18]) for name in each.categories]}
    elif each.log:
        horizontal |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": _list(one.objective[drawn]),
        "marker": {"color": POINT, "size": 4, "opacity": 0.7},
        "text": [f"{_escaped(_value_of(one, each.name, index))}<br>evaluation {one.ids[index]}" for index in drawn],
        "hovertemplate": "%{y:.6g}<br>" + _escaped(each.name) + " = %{text}<extra></extra>",
    }
    vertical = {"title": "objective", "range": range_of(one.objective[drawn], 0.05)}
    return _plot([trace], 300, horizontal, vertical)


def _value_of(one: study.Study, name: str, index: int) -> str:
    return axes.shown(one.table.configurations[name][index])


def importance(data: Importance) -> Plot:
    """A bar a hyperparameter, the most important one on top."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "marker": {"color": BEST},
        "y": [_escaped(name) for name in reversed(data.names)],
        "x": list(reversed(data.losses)),
        "error_x": {"type": "data", "array": list(reversed(data.spreads)), "color": "#555"},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    height = 130 + 26 * len(data.names)
    return _plot([trace], height, {"title": "loss of R²", "rangemode": "tozero"}, {"automargin": True})


def curves(data: Curves) -> Plot:
    """A line an evaluation."""
    traces = []
    for group, colour, width, name in (
        (data.others, PALE, 1, "others"),
        (data.best, BEST, 2, "best"),
    ):
        for number, curve in enumerate(group):
            told = "none" if curve.objective is None else f"{curve.objective:.6g}"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(curve.at) == 1 else "lines",
                    "x": list(curve.at),
                    "y": list(curve.values),
                    "line": {"color": colour, "width": width},
                    "name": name,
                    "legendgroup": name,
                    "showlegend": number == 0,
                    "hovertemplate": f"%{{y:.6g}}<br>evaluation {curve.evaluation}, objective {told}<extra></extra>",
                }
            )
    title = "step" if data.by_step else "seconds since the evaluation's first report"
    return _plot(traces, 360, {"title": title}, {"title": _escaped(data.metric)})


def utilisation(data: Utilisation) -> Plot:
    """Nodes held, busy and given back, over time."""
    times = [datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")[:19] for at in data.from_at]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": times,
            "y": _list(np.round(values, 4)),
            "line": {"color": colour, "width": 1.5, "shape": "hv", **({"dash": "dot"} if name == "given back" else {})},
            **({"fill": "tozeroy"} if name == "busy" else {}),
            "hovertemplate": "%{y:.2f} " + name + "<extra></extra>",
        }
        for name, values, colour in (
            ("busy", data.busy, POINT),
            ("held", data.held, BEST),
            ("given back", data.given_back, GIVEN_BACK),
        )
    ]
    return _plot(traces, 320, {"title": "time (UTC)", "type": "date"}, {"title": "nodes", "rangemode": "tozero"})


_LOOKS: Mapping[str, Any] = {
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#222"},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "#fff",
    "hoverlabel": {"align": "left"},
    "modebar": {"bgcolor": "rgba(255,255,255,0.7)", "color": "#aaa", "activecolor": BEST},
}
#: A search that lasts so long is shown in this unit: seconds, seconds, name.
_UNITS = ((2 * 3600.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))

_AXIS: Mapping[str, Any] = {"gridcolor": "#e6e6e6", "zeroline": False, "linecolor": "#999", "ticks": "outside"}


def _plot(traces: list[Plot], height: int, x: Plot, y: Plot) -> Plot:
    margin = {"l": 70, "r": 20, "t": 20, "b": 55}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    both = {"xaxis": {**_AXIS, **_titled(x)}, "yaxis": {**_AXIS, **_titled(y)}}
    return {"data": traces, "layout": {**_LOOKS, "height": height, "margin": margin, "legend": legend, **both}}


def _titled(one: Plot) -> Plot:
    return {**one, "title": {"text": one["title"]}} if "title" in one else one


def unit_of(one: study.Study) -> tuple[float, str]:
    """The unit of time that fits a search, in seconds, and its name."""
    most_s = float(one.elapsed_s[one.valued[-1]])
    return next((unit_s, name) for least_s, unit_s, name in _UNITS if most_s >= least_s)


def range_of(values: study.Numbers, room: float = 0.0) -> list[float]:
    """Least and greatest, but for outliers: a few that diverged must not squeeze all others into a line."""
    if not len(values):
        return [0.0, 1.0]
    with np.errstate(over="ignore", invalid="ignore"):  # objectives may be as large as numbers are
        first, third = np.percentile(values, [25, 75])
        reach = 3.0 * (third - first) or abs(third) or 1.0
        low, high = np.nanmax([values.min(), first - reach]), np.nanmin([values.max(), third + reach])
        extra = room * ((high - low) or abs(high) or 1.0)
        ends = np.nan_to_num([low - extra, high + extra])
    return [float(end) for end in ends]


def _list(values: study.Numbers | Sequence[float]) -> list[float | None]:
    """Plain numbers of seven digits, which is more than a screen shows; None for what JSON does not have."""
    numbers = np.asarray(values, dtype=float).tolist()
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in numbers]


def _escaped(text: str) -> str:
    """Plotly takes some HTML in texts: none of it may come from a name."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
