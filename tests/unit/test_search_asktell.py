"""What holds for every search, whatever its strategy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import ConfigSpace as cs
import pytest

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search


def floats() -> HpProblem:
    problem = HpProblem()
    problem.add_hyperparameter((0.0, 1.0), "x")
    problem.add_hyperparameter((1e-5, 1.0, "log-uniform"), "lr")
    return problem


def mixed() -> HpProblem:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((1, 1000, "log-uniform"), "units")
    problem.add_hyperparameter(["relu", "tanh", True], "activation")
    problem.add_hyperparameter([16, 32, 64], "batch")
    problem.add_hyperparameter((0.0, 0.5), "dropout")
    problem.add_hyperparameter(7, "constant")
    problem.add_hyperparameter(cs.Float("prior", (0.0, 1.0), distribution=cs.Normal(0.5, 0.1)))
    return problem


def conditional() -> HpProblem:
    problem = HpProblem()
    kernel = problem.add_hyperparameter(["linear", "rbf", "poly"], "kernel")
    gamma = problem.add_hyperparameter((1e-3, 10.0, "log-uniform"), "gamma")
    degree = problem.add_hyperparameter((2, 5), "degree")
    coefficient = problem.add_hyperparameter((0.0, 1.0), "a_coefficient")
    problem.add_condition(cs.InCondition(gamma, kernel, ["rbf", "poly"]))
    problem.add_condition(cs.EqualsCondition(degree, kernel, "poly"))
    problem.add_condition(cs.GreaterThanCondition(coefficient, degree, 3))
    return problem


def forbidden() -> HpProblem:
    problem = HpProblem()
    solver = problem.add_hyperparameter(["a", "b"], "solver")
    size = problem.add_hyperparameter((1, 100), "size")
    rate = problem.add_hyperparameter((0.0, 1.0), "rate")
    small = cs.ForbiddenInClause(size, list(range(2, 50)))
    problem.add_forbidden_clause(cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(solver, "b"), small))
    problem.add_forbidden_clause(cs.ForbiddenLessThanEqualsClause(rate, 0.25))
    return problem


def finite() -> HpProblem:
    problem = HpProblem()
    problem.add_hyperparameter((1, 5), "n")
    problem.add_hyperparameter(["a", "b", "c"], "k")
    return problem


def finite_conditional() -> HpProblem:
    problem = HpProblem()
    kind = problem.add_hyperparameter(["plain", "fancy"], "kind")
    level = problem.add_hyperparameter((1, 20), "level")
    problem.add_condition(cs.EqualsCondition(level, kind, "fancy"))
    problem.add_forbidden_clause(cs.ForbiddenEqualsClause(level, 13))
    return problem


PROBLEMS: list[Callable[[], HpProblem]] = [floats, mixed, conditional, forbidden, finite, finite_conditional]
SMALL: dict[str, dict[str, Any]] = {
    "ambs": {"n_candidates": 100},
    "cmaes": {},
    "de": {"population": 6},
    "optuna": {"sampler": "tpe", "n_startup_trials": 5},
    "random": {},
    "regevo": {"population": 6, "sample": 3},
    "sobol": {},
}
STRATEGIES = list(SMALL)

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
each_problem = pytest.mark.parametrize("problem", PROBLEMS)


def make(strategy: str, problem: HpProblem, seed: int | None = 0, **arguments: Any) -> Search:
    return create(strategy, problem, seed=seed, **(SMALL[strategy] | arguments))


def key(configuration: dict[str, Any]) -> str:
    return json.dumps(configuration, sort_keys=True)


def objective(configuration: dict[str, Any]) -> float | None:
    numbers = [value for value in configuration.values() if isinstance(value, (int, float))]
    return None if key(configuration).count("1") > 4 else float(sum(numbers))


@each_strategy
@each_problem
def test_proposals_are_legal_plain_and_never_repeated(strategy: str, problem: Callable[[], HpProblem]) -> None:
    space = problem()
    search = make(strategy, space)
    seen: set[str] = set()
    for n in (1, 3, 8, 1, 8, 16, 5):
        asked = search.ask(n)
        assert len(asked) == n or search.exhausted
        for configuration in asked:
            space.check(configuration)
            assert json.loads(json.dumps(configuration)) == configuration
            assert {type(value) for value in configuration.values()} <= {int, float, str, bool}
            assert list(configuration) == sorted(configuration)
            assert key(configuration) not in seen
            seen.add(key(configuration))
        search.tell([(configuration, objective(configuration)) for configuration in asked])


@each_strategy
@pytest.mark.parametrize(("problem", "size"), [(finite, 15), (finite_conditional, 20)])
def test_a_finite_space_is_proposed_whole_then_exhausted(
    strategy: str, problem: Callable[[], HpProblem], size: int
) -> None:
    search = make(strategy, problem())
    seen = set()
    while not search.exhausted:
        asked = search.ask(4)
        assert asked
        seen |= {key(configuration) for configuration in asked}
        search.tell([(configuration, objective(configuration)) for configuration in asked])
    assert len(seen) == size
    assert search.ask(3) == []


def test_a_large_finite_space_is_proposed_to_the_last_one() -> None:
    problem = HpProblem()
    problem.add_hyperparameter((1, 3000), "n")
    search = create("random", problem, seed=1)
    assert len(search.ask(2999)) == 2999
    assert not search.exhausted
    assert len(search.ask(5)) == 1
    assert search.exhausted


@each_strategy
def test_starting_points_come_first_and_only_once(strategy: str) -> None:
    problem = mixed()
    points = [
        {"units": 10, "activation": "tanh", "batch": 32, "dropout": 0.1, "prior": 0.5, "constant": 7},
        {"units": 20, "activation": True, "batch": 16, "dropout": 0.2, "prior": 0.4, "constant": 7},
        {"units": 30, "activation": "relu", "batch": 64, "dropout": 0.3, "prior": 0.3, "constant": 7},
    ]
    for point in points:
        problem.add_starting_point(**point)
    search = make(strategy, problem)
    assert search.ask(2) == points[:2]
    assert search.ask(2)[0] == points[2]
    resumed = make(strategy, problem)
    resumed.tell([(points[1], 1.0)])
    resumed.pending([points[0]])
    assert resumed.ask(2)[0] == points[2]


@each_strategy
@each_problem
def test_the_same_seed_and_calls_give_the_same_configurations(strategy: str, problem: Callable[[], HpProblem]) -> None:
    def run(seed: int) -> list[Any]:
        search, asked = make(strategy, problem(), seed), []
        for n in (2, 9, 1, 1, 2, 1):
            new = search.ask(n)
            asked += new
            search.tell([(configuration, objective(configuration)) for configuration in new])
        return asked

    assert run(3) == run(3)
    if math.isinf(problem().size):
        assert run(3) != run(4)


@each_strategy
def test_a_resumed_search_knows_what_was_told_and_pending_and_goes_on_differently(strategy: str) -> None:
    first = make(strategy, floats(), n_initial=30) if strategy == "ambs" else make(strategy, floats())
    asked = first.ask(20)
    resumed = make(strategy, floats(), n_initial=30) if strategy == "ambs" else make(strategy, floats())
    resumed.tell([(configuration, 1.0) for configuration in asked[:12]])
    resumed.pending(asked[12:])
    again = resumed.ask(20)
    assert not {key(configuration) for configuration in asked} & {key(configuration) for configuration in again}

    whole = make(strategy, finite())
    whole.tell([(configuration, 1.0) for configuration in json.loads(json.dumps(make(strategy, finite()).ask(10)))])
    assert len(whole.ask(100)) == 5


@each_strategy
def test_without_a_seed_searches_differ(strategy: str) -> None:
    assert make(strategy, floats(), None).ask(3) != make(strategy, floats(), None).ask(3)


class Recorder:
    """A strategy that suggests the same two configurations for ever and notes what it hears."""

    def __init__(self, setting: Any) -> None:
        self.heard: list[Any] = []

    def ask(self, n: int) -> list[dict[str, Any]]:
        return [{"n": 1, "k": "a"}, {"n": 2, "k": "b"}]

    def pending(self, configurations: Any) -> None:
        self.heard.append(("pending", [key(configuration) for configuration in configurations]))

    def tell(self, results: Any) -> None:
        self.heard.append(("tell", [(key(configuration), objective) for configuration, objective in results]))


def recorded(minimize: bool = False) -> tuple[Search, Recorder]:
    import numpy as np

    from hpcsearch.search.base import Setting
    from hpcsearch.search.encoding import Encoding

    problem = finite()
    problem.minimize = minimize
    setting = Setting(problem, Encoding(problem.space), np.random.default_rng(0))
    strategy = Recorder(setting)
    return Search(strategy, setting, 0), strategy


def test_a_strategy_that_repeats_itself_is_filled_up_and_hears_what_was_placed() -> None:
    search, strategy = recorded()
    asked = search.ask(5)
    assert asked[:2] == [{"n": 1, "k": "a"}, {"n": 2, "k": "b"}]
    assert len({key(configuration) for configuration in asked}) == 5
    assert strategy.heard == [("pending", [key(configuration) for configuration in asked])]


@pytest.mark.parametrize(("minimize", "expected"), [(False, 2.5), (True, -2.5)])
def test_strategies_always_maximise_and_hear_of_failures_as_none(minimize: bool, expected: float) -> None:
    search, strategy = recorded(minimize)
    a, b, c, d = search.ask(4)
    search.tell([(a, 2.5), (b, None), (c, math.nan), (d, -math.inf)])
    assert strategy.heard[-1] == ("tell", [(key(a), expected), (key(b), None), (key(c), None), (key(d), None)])


def test_a_result_counts_once_and_only_if_it_is_in_the_space() -> None:
    search, strategy = recorded()
    reordered = {"n": 3, "k": "c"}
    search.tell([(reordered, 1.0), (reordered, 2.0)])
    search.tell([({"k": "c", "n": 3}, 3.0), ({"n": 99, "k": "a"}, 4.0), ({"k": "a"}, 5.0)])
    assert strategy.heard == [("tell", [(key(reordered), 1.0)])]
    assert reordered not in search.ask(14)
    assert search.exhausted


def test_choices_that_are_lists_keep_their_identity_through_json() -> None:
    problem = HpProblem()
    problem.space.add(cs.CategoricalHyperparameter("shape", [(1, 2), (3, 4), (5, 6)]))
    search = create("random", problem, seed=0)
    asked = json.loads(json.dumps(search.ask(2)))
    resumed = create("random", problem, seed=0)
    resumed.tell([(configuration, 1.0) for configuration in asked])
    assert len(resumed.ask(3)) == 1
    search.tell([(configuration, 1.0) for configuration in asked])
    assert len(search.ask(3)) == 1
