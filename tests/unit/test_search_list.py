"""The search that is a list: what the problem names, in its order, and nothing else."""

from __future__ import annotations

from hpcsearch.problem import HpProblem
from hpcsearch.search import create


def test_the_starting_points_and_nothing_else() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((0.0, 1.0), "x")
    points = [{"x": 0.5}, {"x": 0.25}, {"x": 0.75}]
    for point in points:
        problem.add_starting_point(**point)
    search = create("list", problem)
    assert search.planned == 3
    asked = search.ask(2)
    assert not search.exhausted
    asked += search.ask(10)
    assert asked == points
    assert search.exhausted and search.ask(5) == []
    search.tell([(point, 1.0) for point in points])
    assert search.exhausted


def test_a_problem_without_any_has_nothing_to_list() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((0.0, 1.0), "x")
    search = create("list", problem)
    assert search.planned == 0 and search.exhausted
