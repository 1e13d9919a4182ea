"""Optimisers of the user's own: populations are asked for, evaluated and told, with a barrier where they need one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.script.plugin import PluginSearch
from hpcsearch.script.script import Dimension
from hpcsearch.script.space import ScriptProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search

PLUGIN = """\
import copy
import numpy as np

class Optimizer:
    def __init__(self, hyperparameters, config, logger):
        self.hyperparameters, self.generations, self.shown, self.told = hyperparameters, 0, 0, []

    def ask(self):
        population = []
        for _ in range(4):
            member = [copy.copy(one) for one in self.hyperparameters]
            for one in member:
                one.values = np.random.uniform(one.min_range, one.max_range, one.array_length)
                one.values = np.exp(one.values) if one.is_log else one.values
            population.append(member)
        return population

    def tell(self, population, fitnesses):
        self.told.append(([{one.name: one.values for one in member} for member in population], list(fitnesses)))
        self.generations += 1

    def disp(self):
        self.shown += 1

    def stop(self):
        return self.generations >= 3

class Asynchronous(Optimizer):
    asynchronous = True

    def stop(self):
        return self.generations >= 10

class Dicts:
    def __init__(self, hyperparameters):
        self.asked, self.told = 0, []

    def ask(self):
        self.asked += 1
        return [{"lr": 0.5}, {"lr": 0.5}, {"lr": 7.0}]

    def tell(self, population, fitnesses):
        self.told.append((population, fitnesses))

    def stop(self):
        return self.asked >= 2

class Empty(Dicts):
    def ask(self):
        return []

class Wrong(Dicts):
    def ask(self):
        return [{"lr": [1, 2]}]

class Forgetful(Dicts):
    def ask(self):
        return [{}]

class Breaking:
    ask = tell = stop = lambda self: None
    def __init__(self):
        raise RuntimeError("no cma here")

class Lacking:
    def ask(self):
        return []
"""

Make = Callable[..., Search]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    file = tmp_path / "plug.py"
    file.write_text(PLUGIN)
    array = Dimension("w", (), 1e-3, 1.0, log=True, length=2, beyond=1000.0)

    def made(name: str = "Optimizer", *dimensions: Dimension, minimize: bool = False, seed: int = 0) -> Search:
        problem = ScriptProblem(minimize, dimensions or (Dimension("lr", (), 0.0, 1.0), array))
        return create("plugin", problem, seed=seed, file=f"{file}:{name}")

    return made


def optimizer(search: Search) -> Any:
    assert isinstance(search.strategy, PluginSearch)
    return search.strategy._optimizer


def value(configuration: Configuration) -> float:
    return -abs(configuration["lr"] - 0.5)


def test_what_it_is_told_of_the_hyperparameters(make: Make) -> None:
    lr, w = optimizer(make()).hyperparameters
    assert (lr.name, lr.index, lr.min_range, lr.max_range, lr.array_length) == ("lr", 0, 0.0, 1.0, None)
    assert (lr.unbounded, lr.is_log, lr.rand_init) == (False, False, True)
    assert (w.name, w.index, w.min_range, w.max_range) == ("w", 1, pytest.approx(math.log(1e-3)), 0.0)
    assert (w.array_length, w.unbounded, w.is_log) == (2, True, True)


def test_a_population_is_told_when_all_of_it_has_ended(make: Make) -> None:
    search = make()
    first = search.ask(10)
    assert len(first) == 4 and not search.exhausted
    assert first[0].keys() == {"lr", "w[0]", "w[1]"}
    for configuration in first[1:]:
        search.tell([(configuration, value(configuration))])
        assert search.ask(1) == [] and not search.exhausted  # it waits
    search.tell([(first[0], value(first[0]))])
    ((population, fitnesses),) = optimizer(search).told
    assert [member["lr"] for member in population] == [configuration["lr"] for configuration in first]
    assert fitnesses == [value(configuration) for configuration in first]
    assert optimizer(search).shown == 1
    assert len(search.ask(3)) == 3 and len(search.ask(3)) == 1


def test_it_ends_when_it_says_so(make: Make) -> None:
    search = make()
    evaluated = 0
    while not search.exhausted:
        configurations = search.ask(3)
        evaluated += len(configurations)
        search.tell([(configuration, value(configuration)) for configuration in configurations])
    assert evaluated == 12 and optimizer(search).generations == 3
    assert search.planned is None


def test_less_is_better_where_the_problem_says_so(make: Make) -> None:
    search = make(minimize=True)
    search.tell([(configuration, 3.0) for configuration in search.ask(4)])
    assert optimizer(search).told[0][1] == [-3.0] * 4


def test_a_failure_is_the_worst_so_far(make: Make) -> None:
    search = make()
    first, *others = search.ask(4)
    search.tell([(first, None), *((configuration, -2.0) for configuration in others)])
    assert optimizer(search).told[0][1] == [-2.0] * 4


def test_without_a_barrier_each_member_is_told_by_itself(make: Make) -> None:
    search = make("Asynchronous")
    configurations = search.ask(6)  # more than one population
    assert len(configurations) == 6
    search.tell([(configurations[5], value(configurations[5]))])
    ((population, fitnesses),) = optimizer(search).told
    assert len(population) == 1 and fitnesses == [value(configurations[5])]
    assert len(search.ask(4)) == 4


def test_a_search_that_is_resumed_goes_through_the_same_populations(make: Make) -> None:
    before = make()
    results = []
    for _ in range(2):
        results += [(configuration, value(configuration)) for configuration in before.ask(4)]
        before.tell(results[-4:])
    half = before.ask(2)
    after = make()
    after.tell(results)
    after.pending(half)
    rest = after.ask(4)
    assert len(rest) == 2 and optimizer(after).generations == 2
    after.tell([(configuration, value(configuration)) for configuration in (*half, *rest)])
    before.tell([(configuration, value(configuration)) for configuration in (*half, *before.ask(4))])
    assert repr(optimizer(after).told) == repr(optimizer(before).told)


def test_members_that_are_equal_run_once_and_values_stay_in_their_bounds(make: Make) -> None:
    search = make("Dicts", Dimension("lr", (), 0.0, 1.0))
    configurations = search.ask(5)
    assert configurations == [{"lr": 0.5}, {"lr": 1.0}]
    search.tell([({"lr": 0.5}, 5.0), ({"lr": 1.0}, 1.0)])
    assert [fitnesses for _, fitnesses in optimizer(search).told] == [[5.0, 5.0, 1.0]]
    assert search.ask(5) == [] and search.exhausted  # the second population is known already
    assert [fitnesses for _, fitnesses in optimizer(search).told] == [[5.0, 5.0, 1.0]] * 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Empty", r"Empty\.ask\(\) gave nothing"),
        ("Wrong", r"Wrong\.ask\(\) gave \[1, 2\] for lr, not 1 finite number\."),
        ("Forgetful", r"Forgetful\.ask\(\) gave no lr"),
        ("Breaking", "RuntimeError: no cma here"),
        ("Lacking", "no class with the methods tell, stop"),
    ],
)
def test_what_is_wrong_with_it_is_said(make: Make, name: str, words: str) -> None:
    with pytest.raises(SearchError, match=words):
        make(name, Dimension("lr", (), 0.0, 1.0)).ask(1)


def test_it_is_for_scripts() -> None:
    with pytest.raises(SearchError, match="is for scripts"):
        create("plugin", ScriptProblem(False, (Dimension("lr", (), 0.0, 1.0),)))
