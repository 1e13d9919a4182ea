"""The data of the figures: what is shown, what is left out, and what the numbers are."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_bed import BEGIN_AT, FAILURE, make
from sqlalchemy import update
from workflow_bed import commit, ended, finish, new_database, started, take_lease

from hpcsearch.figures import axes, plots
from hpcsearch.figures.axes import axis
from hpcsearch.figures.curves import BEST, OTHERS, curves
from hpcsearch.figures.importance import LEAST, Importance, importance
from hpcsearch.figures.progress import progress
from hpcsearch.figures.scale import logarithmic
from hpcsearch.figures.study import Study, read_study
from hpcsearch.figures.thinning import note, thinned
from hpcsearch.figures.utilisation import _averaged, utilisation
from hpcsearch.workflow import schema, store
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.store import Batch


def study(folder: Path, values: list[float | None], *, minimize: bool = False, **points: list[Any]) -> Study:
    """One of evaluations with these objectives; None failed. By default their only hyperparameter is their number."""
    columns = points or {"x": list(range(len(values)))}
    configurations = [
        {name: column[index] for name, column in columns.items() if column[index] is not None}
        for index in range(len(values))
    ]
    outcomes = [FAILURE if value is None else {"objective": value} for value in values]
    return read_study(make(folder, configurations, outcomes, (), minimize=minimize))


def test_the_best_so_far_is_a_staircase_in_the_problems_sense(tmp_path: Path) -> None:
    values = [3.0, None, 1.0, 2.0, 5.0]
    up = progress(study(tmp_path / "up", values))
    assert (up.best.tolist(), up.best_at_s.tolist()) == ([3.0, 5.0, 5.0], [2.0, 6.0, 6.0])
    down = progress(study(tmp_path / "down", values, minimize=True))
    assert (down.best.tolist(), down.best_at_s.tolist()) == ([3.0, 1.0, 1.0], [2.0, 4.0, 6.0])
    assert len(down.shown) == 4 and down.note == ""


def test_fewer_points_keep_every_step_and_say_so(tmp_path: Path) -> None:
    draw = random.Random(0)
    one = study(tmp_path, [draw.random() for _ in range(300)])
    data = progress(one, 50)
    assert len(data.shown) == 50
    assert set(data.best.tolist()) <= set(one.objective[data.shown].tolist())
    assert data.note.startswith("50 of 300 evaluations are shown")
    assert (progress(one, 50).shown == data.shown).all()


@given(st.integers(0, 200), st.integers(1, 100), st.data())
def test_thinning_keeps_what_it_is_told_and_the_order(count: int, limit: int, data: st.DataObject) -> None:
    points = np.arange(count)
    kept = np.array(data.draw(st.lists(st.sampled_from(range(count)), unique=True)) if count else [], dtype=np.intp)
    chosen = thinned(points, limit, kept)
    assert np.isin(kept, chosen).all() and (np.diff(chosen) > 0).all()
    assert len(chosen) == min(count, max(limit, len(kept)))
    assert note(len(chosen), count, "some") == "" or len(chosen) < count


def test_importance_finds_what_matters_and_not_what_does_not(tmp_path: Path) -> None:
    draw = random.Random(1)
    count = 120
    columns: dict[str, list[Any]] = {
        "kind": [draw.choice(["a", "b", "c"]) for _ in range(count)],
        "much": [draw.random() for _ in range(count)],
        "none": [draw.random() for _ in range(count)],
        "same": [1] * count,
    }
    columns["depth"] = [draw.randint(1, 9) if kind == "a" else None for kind in columns["kind"]]
    values: list[float | None] = [
        3 * much + 2 * (kind == "b") for much, kind in zip(columns["much"], columns["kind"], strict=True)
    ]
    values[7] = 1e9  # one that diverged does not decide alone
    found = importance(study(tmp_path, values, **columns))
    assert isinstance(found, Importance)
    losses = dict(zip(found.names, found.losses, strict=True))
    assert set(found.names) == {"depth", "kind", "much", "none"}
    assert set(found.names[:2]) == {"kind", "much"} and min(losses["kind"], losses["much"]) > 0.3
    assert abs(losses["none"]) < 0.05 and found.accuracy > 0.8
    assert "Breiman" in found.note


def test_importance_of_too_little_is_a_sentence(tmp_path: Path) -> None:
    told = importance(study(tmp_path / "few", [1.0, None, 2.0]))
    assert told == f"Importance needs {LEAST} finished evaluations; there are 2."
    told = importance(study(tmp_path / "flat", [1.0] * LEAST))
    assert told == "Importance needs hyperparameters and objectives that differ."


def test_axes_are_linear_or_logarithmic_or_categories(tmp_path: Path) -> None:
    draw = random.Random(2)
    count = 60
    one = study(
        tmp_path,
        [1.0] * count,
        lr=[10 ** draw.uniform(-5, -1) for _ in range(count)],
        rate=[draw.uniform(0, 0.5) for _ in range(count)],
        flag=[draw.choice([True, False]) for _ in range(count)],
        size=["big"] + [draw.choice([8, 16]) for _ in range(count - 2)] + [None],
    )
    known = {each.name: each for each in axes.axes(one)}
    assert {name: each.log for name, each in known.items()} == {"lr": True, "rate": False, "flag": False, "size": False}
    assert known["flag"].categories == ("False", "True")
    assert known["size"].categories == ("8", "16", "big", axes.INACTIVE)
    assert known["size"].positions[[0, -1]].tolist() == [2.0, 3.0]


def test_a_search_that_gathered_at_one_end_is_still_on_a_logarithmic_axis() -> None:
    draw = random.Random(3)
    first = [10 ** draw.uniform(-5, -1) for _ in range(50)]
    assert logarithmic([*first, *[0.09] * 5000])
    assert not logarithmic([0.0, *first]) and not logarithmic([])


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=30)
)
def test_averages_over_time_are_exact_however_short_the_spans(spans: list[tuple[float, float, float]]) -> None:
    whole = [(begin, begin + length, weight) for begin, length, weight in spans]
    edges = np.linspace(0, 150, 41)
    found = _averaged(whole, edges)
    for low, high, value in zip(edges[:-1], edges[1:], found, strict=True):
        area = sum(weight * max(0.0, min(end, high) - max(begin, low)) for begin, end, weight in whole)
        assert value == pytest.approx(area / (high - low), abs=1e-6)


def test_nodes_are_held_busy_and_given_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "poly")
    layout.root.mkdir()
    engine = new_database(layout.root, [{"x": number} for number in range(3)])
    token = take_lease(engine)
    with engine.begin() as connection:
        connection.execute(update(schema.workflow).values(started_at=BEGIN_AT))
        times = {"started_at": BEGIN_AT, "ended_at": BEGIN_AT + 100.0}
        connection.execute(update(schema.allocation).values(state="ENDED", nodes=2, **times))
    common = {"slots": 2, "held_from_at": BEGIN_AT}
    first = {"name": "n1", "state": "DONE", "held_to_at": BEGIN_AT + 100.0, **common}
    second = {"name": "n2", "state": "RELEASED", "held_to_at": BEGIN_AT + 50.0, **common}
    batch = Batch(nodes=[first, second])
    for number, node, length_s in ((1, "n1", 100.0), (2, "n1", 50.0), (3, "n2", 50.0)):
        place = {"node": node, "started_at": BEGIN_AT}
        batch.started.append(started(number) | place)
        batch.ended.append(ended(number, ended_at=BEGIN_AT + length_s) | place)
    commit(engine, token, batch)
    engine.dispose()
    data = utilisation(read_study(layout))
    assert data is not None and data.width_s == 0.25

    def at(seconds: float) -> list[float]:
        index = int(seconds / data.width_s)
        return [round(float(values[index]), 6) for values in (data.held, data.busy, data.given_back)]

    assert at(10.0) == [2.0, 1.5, 0.0]  # three of the four slots
    assert at(75.0) == [1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("place", "busy"),
    [({"nodes": "n1", "slots": 3}, 0.75), ({"nodes": "n1,n2", "slots": 8}, 2.0)],
    ids=["three slots of a node", "two nodes"],
)
def test_an_evaluation_of_several_slots_is_busy_on_all_of_them(
    tmp_path: Path, place: dict[str, Any], busy: float
) -> None:
    engine = new_database(tmp_path, [{"x": 0.5}])
    token = take_lease(engine)
    span = {"held_from_at": BEGIN_AT, "held_to_at": BEGIN_AT + 100.0}
    nodes = [{"name": name, "state": "DONE", "slots": 4, **span} for name in ("n1", "n2")]
    store.update_allocation(engine, 1, state="ENDED", nodes=2, started_at=BEGIN_AT, ended_at=BEGIN_AT + 100.0)
    commit(engine, token, Batch(nodes=nodes))
    finish(engine, token, ended(1, started_at=BEGIN_AT, ended_at=BEGIN_AT + 100.0, **place))
    engine.dispose()
    data = utilisation(read_study(Layout(tmp_path)))
    assert data is not None
    assert np.allclose(data.held, 2.0) and np.allclose(data.busy, busy)


def test_curves_are_of_the_best_and_of_a_draw_of_the_others(tmp_path: Path) -> None:
    count = 60
    reports = [
        (number, step, {"loss": 1.0 / (step + number), "note": "x", "bad": math.inf})
        for number in range(1, count + 1)
        for step in (0.0, 1.0, 2.0)
    ]
    outcomes = [{"objective": float(number)} for number in range(count)]
    layout = make(tmp_path, [{"x": number} for number in range(count)], outcomes, reports)
    (found,) = curves(read_study(layout))
    assert (found.metric, found.by_step, len(found.best), len(found.others)) == ("loss", True, BEST, OTHERS)
    assert found.best[0].evaluation == count and found.best[0].at == (0.0, 1.0, 2.0)


def test_every_plot_is_one_that_plotly_knows(tmp_path: Path) -> None:
    draw = random.Random(4)
    count = 50
    one = study(
        tmp_path,
        [None if number == 3 else draw.random() for number in range(count)],
        **{"<b>lr": [10 ** draw.uniform(-5, -1) for _ in range(count)]},
        kind=[draw.choice(["<i>a</i>", "b"]) for _ in range(count)],
        depth=[draw.choice([1, 2, None]) for _ in range(count)],
    )
    known, drawn = axes.axes(one), axes.drawn(one, 30, 5)
    weights = importance(one)
    assert isinstance(weights, Importance)
    made = [
        plots.objective(one, progress(one)),
        plots.parallel(one, known, drawn),
        *(plots.hyperparameter(one, each, drawn) for each in known),
        plots.importance(weights),
    ]
    for plot in made:
        go.Figure(plot)  # which checks every property
        assert "<b>lr" not in str(plot) and "<i>a" not in str(plot)


def test_an_outlier_does_not_squeeze_all_others() -> None:
    low, high = plots.range_of(np.array([*range(100), 1e12], dtype=float), 0.05)
    assert -20 < low <= 0 and 99 <= high < 500
    assert plots.range_of(np.array([2.0])) == [2.0, 2.0]


def test_a_hyperparameter_that_was_never_set_has_no_axis_to_fail_on(tmp_path: Path) -> None:
    one = study(tmp_path, [1.0, 2.0], depth=[None, None], x=[1, 2])
    assert one.varied == ("x",)
    assert np.isnan(axis(study(tmp_path / "b", [1.0, 2.0], depth=[None, 1], x=[1, 2]), "depth").positions[0])
