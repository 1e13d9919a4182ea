"""The objective over time, in so many characters as there is room for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from plotille import Canvas

#: So many results are drawn as points, at even distances in their order: more of them would be one black area.
_POINTS = 500
#: Of the worse end this share of the points is left out, so that a few outliers do not flatten all the others.
_OUTLIERS = 0.1
_LABEL = 9  # takes any number with at least one digit: -1e-123

Results = Sequence[tuple[float, float]]  # (when, objective), the first first


def plot(results: Results, minimize: bool, width: int, height: int) -> list[str]:
    """Lines of at most ``width`` characters: results as points, the best until then as a line, the axes' ends."""
    rows = height - 1
    columns = width - _LABEL - 1
    if not results or rows < 2 or columns < 10:
        return ["no result yet"] if not results else []
    points = [*results[:: max(1, len(results) // _POINTS)], results[-1]]
    steps = best_so_far(results, minimize)
    (left, right), (low, high) = _span(points[0][0], points[-1][0]), _shown(points, steps[-1][1], minimize)
    canvas = Canvas(columns, rows, left, low, _beyond(left, right, 2 * columns), _beyond(low, high, 4 * rows))
    for at, value in points:
        canvas.point(at, value)
    for (at, value), (until, lower) in zip(steps, [*steps[1:], (right, steps[-1][1])], strict=True):
        canvas.line(at, value, until, value)
        canvas.line(until, value, until, lower)
    labels = {0: _label(high), rows - 1: _label(low)}
    drawn = [f"{labels.get(row, ''):>{_LABEL}} {line}" for row, line in enumerate(canvas.plot().splitlines())]
    return [*drawn, _times(left, right, columns)]


def best_so_far(results: Results, minimize: bool) -> list[tuple[float, float]]:
    """The results that were better than all before."""
    steps: list[tuple[float, float]] = []
    for at, value in results:
        if not steps or (value < steps[-1][1] if minimize else value > steps[-1][1]):
            steps.append((at, value))
    return steps


def _shown(points: Results, best: float, minimize: bool) -> tuple[float, float]:
    values = sorted((value for _, value in points), reverse=minimize)  # the worst first
    worst = values[int(_OUTLIERS * len(values))]
    return _span(min(best, worst), max(best, worst))


def _span(low: float, high: float) -> tuple[float, float]:
    """Two ends that are apart: a canvas has no room between equal ones."""
    apart = max(1e-9, abs(low) * 1e-10)
    return (low, high) if high - low >= apart else (low - apart, high + apart)


def _beyond(low: float, high: float, dots: int) -> float:
    """Where the canvas has to end so that ``high`` is its last dot: its own end is no dot any more."""
    return low + (high - low) * dots / (dots - 1)


def _label(value: float) -> str:
    """As many digits as there is room for."""
    return next(text for digits in (4, 3, 2, 1) if len(text := f"{value:.{digits}g}") <= _LABEL)


def _times(left: float, right: float, columns: int) -> str:
    form = "%H:%M" if right - left < 20 * 3600 else "%d %b %H:%M"
    begin, end = (time.strftime(form, time.localtime(at)) for at in (left, right))
    apart = columns - len(begin) - len(end)
    return f"{'':{_LABEL}} " + (f"{begin}{' ' * apart}{end}" if apart > 0 else end[:columns])
