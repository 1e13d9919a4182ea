"""Hyperparameters that change nothing for some value of a choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.inert import Inert, find_inert


def problem() -> HpProblem:
    made = HpProblem()
    made.add_hyperparameter(["flat", "round"], "kernel")
    made.add_hyperparameter([2.0**power for power in range(10)], "width")
    made.add_hyperparameter([1, 2, 3, 4, 5, 6, 7, 8], "c")
    return made


def value(one: dict[str, Any]) -> float:
    """Where the kernel is flat, its width is nothing; the best is a round one of the right width."""
    if one["kernel"] == "flat":
        return 1.0 - abs(one["c"] - 3) / 10
    return 1.5 - abs(np.log2(one["width"]) - 7) / 2 - abs(one["c"] - 6) / 4


def known(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return create("random", problem(), seed=seed).ask(count)


def rules(of: list[dict[str, Any]], noise: float = 0.0) -> set[tuple[str, Any, str]]:
    encoding = Encoding(problem().space)
    values = np.array([value(one) for one in of]) + noise * np.random.default_rng(0).random(len(of))
    names = [column.name for column in encoding.columns]
    found = find_inert(encoding.columns, encoding.encode(of), values).rules
    return {(names[c], encoding.columns[c].values(np.array([v]))[0], names[i]) for c, v, i in found}


def test_it_is_found_where_enough_has_been_compared_and_nowhere_else() -> None:
    assert rules(known(100)) == {("kernel", "flat", "width")}
    assert rules(known(6)) == set()
    assert rules(known(100), noise=1e-9) == set()


def test_one_comparison_that_differs_is_enough_to_the_contrary() -> None:
    rows = np.array([[0.0, width, c] for c in range(2) for width in range(6)])
    objectives = rows[:, 2].copy()
    columns = Encoding(problem().space).columns
    assert (0, 0.0, 1) in find_inert(columns, rows, objectives).rules
    assert (0, 0.0, 1) not in find_inert(columns, rows, np.zeros(12)).rules  # a plateau says little
    objectives[3] = 1e-12
    assert (0, 0.0, 1) not in find_inert(columns, rows, objectives).rules


def test_rows_that_come_to_the_same_are_the_same() -> None:
    rows = np.array([[0.0, 3.0, 1.0], [0.0, 5.0, 1.0], [1.0, 3.0, 1.0]])
    collapsed = Inert(((0, 0.0, 1),)).collapsed(rows)
    np.testing.assert_array_equal(collapsed, [[0.0, np.nan, 1.0], [0.0, np.nan, 1.0], [1.0, 3.0, 1.0]])
    assert not np.isnan(rows).any()
    assert Inert().collapsed(rows) is rows


@pytest.mark.parametrize("seed", range(4))
def test_the_search_does_not_go_through_what_is_all_the_same(seed: int) -> None:
    search = create("ambs", problem(), seed=seed)
    asked = []
    for _ in range(50):
        asked += search.ask(1)
        search.tell([(asked[-1], value(asked[-1]))])
    assert max(map(value, asked)) == 1.5
    flat = {one["c"] for one in asked[20:] if one["kernel"] == "flat"}
    assert sum(one["kernel"] == "flat" for one in asked[20:]) <= len(flat) + 8


def test_what_is_left_in_a_space_of_equals_is_still_proposed() -> None:
    search = create("ambs", problem(), seed=0)
    while not search.exhausted:
        asked = search.ask(16)
        assert asked
        search.tell([(one, 1.0) for one in asked])
    assert search.ask(1) == []
