"""The figures for papers and slides, drawn by matplotlib: the data is that of the report."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, dates, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpcsearch.errors import NotFoundError
from hpcsearch.figures import axes, plots
from hpcsearch.figures.curves import curves
from hpcsearch.figures.importance import importance
from hpcsearch.figures.progress import progress
from hpcsearch.figures.study import Indices, Study
from hpcsearch.figures.utilisation import utilisation

_WIDTH, _HEIGHT = 6.4, 3.8  # inches
_COLUMNS = 3
_POINTS, _BEST, _LINES = 3000, 50, 400


def draw(study: Study, kind: str, path: Path, form: str) -> None:
    """Writes one figure to a file; ``form`` is png, pdf or svg.

    Raises:
        NotFoundError: there is nothing to show yet.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    with warnings.catch_warnings(), rc_context({"text.parse_math": False}):  # a name with dollars is no formula
        warnings.simplefilter("ignore")  # such as of letters that a font does not have
        KINDS[kind](study, figure)
        for each in figure.axes:
            each.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format=form, dpi=200)


def _objective(study: Study, figure: Figure) -> None:
    data = progress(_with_values(study), _POINTS)
    unit_s, unit = plots.unit_of(study)
    one = figure.subplots()
    one.plot(study.elapsed_s[data.shown] / unit_s, study.objective[data.shown], ".", color=plots.POINT, ms=3)
    one.step(data.best_at_s / unit_s, data.best, where="post", color=plots.BEST, label="best so far")
    one.set(xlabel=f"{unit} since the search began", ylabel="objective")
    one.legend(frameon=False)


def _parallel(study: Study, figure: Figure) -> None:
    known = axes.axes(_with_values(study))
    drawn = axes.drawn(study, _LINES, _BEST)
    values = study.objective[drawn]
    order = np.argsort(values if not study.minimize else -values, kind="stable")  # the best on top
    drawn, values = drawn[order], values[order]
    figure.set_size_inches(max(_WIDTH, 1.1 * (len(known) + 2)), _HEIGHT)
    one = figure.subplots()
    low, high = plots.range_of(values)
    share = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    quality = 1.0 - share if study.minimize else share
    heights = np.column_stack([*(_heights(each, drawn) for each in known), share])
    for line, good in zip(heights, quality, strict=True):
        one.plot(line, color=colormaps["Blues"](0.15 + 0.85 * good**3), lw=0.5 + good)
    for place, each in enumerate(known):
        _label_axis(one, place, each, drawn)
    _ends(one, len(known), f"{low:.4g}", f"{high:.4g}")
    one.set_xticks(range(len(known) + 1), [*(each.name for each in known), "objective"], rotation=20, ha="right")
    one.set(yticks=[], ylim=(-0.12, 1.12))
    one.spines[["left", "bottom"]].set_visible(False)
    for place in range(len(known) + 1):
        one.axvline(place, color="#888", lw=0.6, zorder=0)


def _heights(each: axes.Axis, drawn: Indices) -> Any:
    """Positions between 0 and 1; what is inactive lies a little below."""
    positions = np.log10(each.positions[drawn]) if each.log else each.positions[drawn]
    low, high = np.nanmin(positions), np.nanmax(positions)
    return np.nan_to_num((positions - low) / ((high - low) or 1.0), nan=-0.08)


def _label_axis(one: Axes, place: int, each: axes.Axis, drawn: Indices) -> None:
    positions = each.positions[drawn]
    if not each.categories:
        _ends(one, place, f"{np.nanmin(positions):.3g}", f"{np.nanmax(positions):.3g}")
        return
    box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
    for position, height in sorted(set(zip(positions.tolist(), _heights(each, drawn).tolist(), strict=True))):
        one.text(place + 0.04, height + 0.02, each.categories[int(position)][:12], fontsize=7, bbox=box)


def _ends(one: Axes, place: int, low: str, high: str) -> None:
    one.text(place, -0.03, low, ha="center", va="top", fontsize=7, color="#444")
    one.text(place, 1.03, high, ha="center", va="bottom", fontsize=7, color="#444")


def _hyperparameters(study: Study, figure: Figure) -> None:
    known = axes.axes(_with_values(study))
    if not known:
        raise NotFoundError("No hyperparameter varies.", "See 'hpcsearch results'.")
    drawn = axes.drawn(study, _POINTS, _BEST)
    columns = min(_COLUMNS, len(known))
    rows = math.ceil(len(known) / columns)
    figure.set_size_inches(_WIDTH * columns / 2 + 0.5, 2.3 * rows)
    places = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for one, each in zip(places, known, strict=False):
        positions = each.positions[drawn]
        one.set(xlabel=each.name, xscale="log" if each.log else "linear")
        if each.categories:
            positions = positions + np.random.default_rng(0).uniform(-0.25, 0.25, len(drawn))
            one.set_xticks(range(len(each.categories)), [name[:12] for name in each.categories], rotation=20)
        one.plot(positions, study.objective[drawn], ".", color=plots.POINT, ms=2.5)
    for one in figure.axes[len(known) :]:
        one.set_visible(False)
    for one in figure.axes[::columns]:
        one.set(ylabel="objective", ylim=plots.range_of(study.objective[drawn], 0.05))


def _importance(study: Study, figure: Figure) -> None:
    data = importance(study)
    if isinstance(data, str):
        raise NotFoundError(data, "Draw it when more evaluations have finished.")
    figure.set_size_inches(_WIDTH, 1.0 + 0.3 * len(data.names))
    one = figure.subplots()
    one.barh(data.names, data.losses, xerr=data.spreads, color=plots.BEST, ecolor="#555")
    one.invert_yaxis()
    one.set(xlabel=f"permutation importance (loss of R²; R² = {data.accuracy:.2f})")


def _curves(study: Study, figure: Figure) -> None:
    found = curves(study)
    if not found:
        raise NotFoundError("No evaluation has reported a metric.", "A run function does with hpcsearch.report.")
    figure.set_size_inches(_WIDTH, 2.6 * len(found))
    for one, data in zip(figure.subplots(len(found), squeeze=False).flat, found, strict=True):
        for group, colour, width in ((data.others, plots.PALE, 0.8), (data.best, plots.BEST, 1.2)):
            for curve in group:
                one.plot(curve.at, curve.values, color=colour, lw=width, marker="." if len(curve.at) == 1 else "")
        one.set(xlabel="step" if data.by_step else "seconds", ylabel=data.metric)


def _utilisation(study: Study, figure: Figure) -> None:
    data = utilisation(study)
    if data is None:
        raise NotFoundError("No allocation of this workflow has begun.", "See 'hpcsearch status'.")
    times = [datetime.fromtimestamp(at, UTC) for at in data.from_at]
    one: Any = figure.subplots()
    one.fill_between(times, data.busy, step="post", color=plots.POINT, alpha=0.6, lw=0, label="busy")
    one.step(times, data.held, where="post", color=plots.BEST, label="held")
    one.step(times, data.given_back, where="post", color=plots.GIVEN_BACK, ls=":", label="given back")
    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    one.xaxis.set_major_locator(locator)
    one.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    one.set(xlabel="time (UTC)", ylabel="nodes", ylim=(0, None))
    one.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _with_values(study: Study) -> Study:
    if not len(study.valued):
        raise NotFoundError("No evaluation has an objective yet.", "See 'hpcsearch status'.")
    return study


#: What can be drawn.
KINDS: Mapping[str, Callable[[Study, Figure], None]] = {
    "objective": _objective,
    "parallel": _parallel,
    "hyperparameters": _hyperparameters,
    "importance": _importance,
    "curves": _curves,
    "utilisation": _utilisation,
}
