"""The strategies beside the model-based one: that they find, and what each is known for."""

from __future__ import annotations

import heapq
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcsearch.errors import SearchError
from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search
from hpcsearch.search.contract import check

Objective = Callable[[dict[str, Any]], float | None]

CHECKED: dict[str, dict[str, Any]] = {
    "ambs": {"n_candidates": 100},
    "cmaes": {"population": 5},
    "de": {"population": 6},
    "grid": {"points": 4},
    "optuna": {"n_startup_trials": 3},
    "random": {},
    "regevo": {"population": 6, "sample": 2},
    "sobol": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", CHECKED)
def test_every_strategy_keeps_the_contract(strategy: str) -> None:
    assert len(check(strategy, **CHECKED[strategy])) == 6


BASE = """
import random
class Base:
    def __init__(self, setting):
        self.encoding, self.random = setting.encoding, setting.random
    def ask(self, n):
        return self.encoding.decode(self.encoding.draw(n, self.random))
    def pending(self, configurations): pass
    def tell(self, results): pass
"""


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ("    def ask(self, n): return [{**c, 'more': 1} | {k: 1e9 for k in c} for c in super().ask(n)]", "legal"),
        (
            "    def ask(self, n): return super().ask(n) if random.random() < 0.5 else super().ask(n + 1)[1:]",
            "same seed",
        ),
        ("    def ask(self, n): return self.encoding.decode(self.encoding.from_unit([[0.5] * 9] * n))", "raised"),
        ("    def tell(self, results): [0 * objective for _, objective in results]", "raised TypeError"),
        ("    def ask(self, n): return []", "known already"),
        ('    objectives = "all"', "its objectives are 'all'"),
        ('    objectives = "several"', "the second one changes nothing"),
        (
            '    objectives = "any"\n    def tell(self, results): self.random.random(sum(bool(o) for _, o in results))',
            "but learns from results",
        ),
    ],
)
def test_the_contract_finds_what_is_broken(broken: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(f"{BASE}\nclass Own(Base):\n{broken}\n")
    check(f"{path}:Base")
    with pytest.raises(SearchError, match=word):
        check(f"{path}:Own")


def test_the_contract_is_checked_from_a_shell(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(BASE)

    def typed(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "hpcsearch.search.contract", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = typed("own.py:Base")
    assert code == 0 and said.count("OK  ") == 6
    code, said = typed("own.py:Nobody")
    assert code == 1 and said.startswith("Error: ") and "Traceback" not in said
    assert typed()[0] == 2


def cube(dimensions: int = 4) -> HpProblem:
    problem = HpProblem()
    for index in range(dimensions):
        problem.add_hyperparameter((0.0, 1.0), f"x{index}")
    return problem


def mixed() -> HpProblem:
    problem = cube(2)
    problem.add_hyperparameter((1, 50), "n")
    problem.add_hyperparameter((1, 100_000, "log-uniform"), "wide")
    problem.add_hyperparameter(["a", "b", "c", "d"], "kind")
    problem.add_hyperparameter([True, False], "flag")
    problem.add_hyperparameter([1, 2, 4, 8], "power")
    problem.add_hyperparameter(3, "constant")
    return problem


def bowl(configuration: dict[str, Any]) -> float | None:
    floats = sum((value - 0.3) ** 2 for name, value in configuration.items() if name.startswith("x"))
    extra = 0.0
    if "kind" in configuration:
        extra = 0.2 * (configuration["kind"] != "c") + 0.2 * configuration["flag"] + (configuration["power"] - 1) / 40
        extra += abs(configuration["n"] - 20) / 50 + abs(math.log10(configuration["wide"]) - 2) / 5
    return -floats - extra


def failing(configuration: dict[str, Any]) -> float | None:
    return None if configuration["x0"] > 0.6 else bowl(configuration)


def simulate(search: Search, objective: Objective, evaluations: int, workers: int, seed: int) -> float:
    """The best objective after asynchronous evaluations of log-normal durations."""
    rng = np.random.default_rng((seed, 7))
    running: list[tuple[float, int, dict[str, Any]]] = []
    best, now, started = -math.inf, 0.0, 0
    for _ in range(evaluations):
        while len(running) < workers and started < evaluations:
            for configuration in search.ask(1):
                heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), started, configuration))
                started += 1
        now, _, configuration = heapq.heappop(running)
        value = objective(configuration)
        best = max(best, -math.inf if value is None else value)
        search.tell([(configuration, value)])
    return best


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "objective"), [(cube, bowl), (mixed, bowl), (cube, failing)], ids=["floats", "mixed", "failing"]
)
@pytest.mark.parametrize("strategy", ["cmaes", "de", "regevo", "optuna"])
def test_they_learn(strategy: str, problem: Callable[[], HpProblem], objective: Objective) -> None:
    def regret(name: str, seeds: int) -> float:
        return -float(np.mean([simulate(create(name, problem(), seed=s), objective, 150, 8, s) for s in range(seeds)]))

    assert regret(strategy, 3) < 0.75 * regret("random", 8)


def test_a_sobol_sequence_is_even_and_goes_on_where_it_stood() -> None:
    search = create("sobol", cube(2), seed=5)
    asked = search.ask(64)
    cells = {(int(one["x0"] * 8), int(one["x1"] * 8)) for one in asked}
    assert len(cells) == 64  # one in each square of a chessboard, as chance would never have it
    resumed = create("sobol", cube(2), seed=5)
    resumed.tell([(configuration, 1.0) for configuration in asked[:40]])
    resumed.pending(asked[40:50])
    assert resumed.ask(14) == asked[50:]
    assert create("sobol", cube(2), seed=6).ask(4) != asked[:4]


@pytest.mark.parametrize("strategy", ["de", "cmaes", "regevo"])
def test_nothing_waits_for_a_generation(strategy: str) -> None:
    """Asked far more than a population at once, with single results in between, all are answered."""
    search = create(strategy, cube(3), seed=0)
    asked = search.ask(500)
    for configuration in asked[::-1][:60]:
        search.tell([(configuration, bowl(configuration))])
        assert len(search.ask(1)) == 1
    assert len(search.ask(200)) == 200


def test_de_never_takes_a_worse_one_nor_a_failure_into_its_population() -> None:
    search = create("de", cube(2), seed=0, population=5)
    known = create("random", cube(2), seed=1).ask(30)
    search.tell([(configuration, float(index)) for index, configuration in enumerate(known)])
    (trial,) = search.ask(1)
    search.tell([(trial, None)])
    (trial,) = search.ask(1)
    search.tell([(trial, -1.0)])
    members = search.strategy._objectives  # type: ignore[attr-defined]
    assert sorted(members) == [25.0, 26.0, 27.0, 28.0, 29.0]


@pytest.mark.parametrize(
    ("strategy", "arguments", "word"),
    [
        ("de", {"population": "3"}, "population=3"),
        ("de", {"mutation": "3"}, "mutation=3"),
        ("de", {"crossover": "1.5"}, "crossover=1.5"),
        ("cmaes", {"population": "2"}, "population=2"),
        ("cmaes", {"sigma": "0"}, "sigma=0"),
        ("regevo", {"population": "1"}, "population=1"),
        ("regevo", {"sample": "31"}, "sample=31"),
        ("optuna", {"sampler": "tpee"}, "Did you mean tpe"),
        ("optuna", {"startup": "3"}, "no argument 'startup'"),
        ("optuna", {"sampler": "grid"}, "'grid' cannot be made"),
        ("optuna", {"n_startup_trials": "many"}, "n_startup_trials=many"),
    ],
)
def test_settings_that_make_no_sense_are_answered(strategy: str, arguments: dict[str, str], word: str) -> None:
    with pytest.raises(SearchError) as caught:
        create(strategy, cube(2), seed=0, **arguments)
    assert word in caught.value.message and caught.value.hint


@pytest.mark.parametrize("sampler", ["random", "CmaEsSampler", "nsgaii", "qmc"])
def test_any_sampler_of_optuna_by_its_name(sampler: str) -> None:
    search = create("optuna", mixed(), seed=0, sampler=sampler)
    for _ in range(12):
        search.tell([(configuration, bowl(configuration)) for configuration in search.ask(2)])
    assert len(search.ask(5)) == 5


def test_a_package_that_is_missing_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "hpcsearch.search.optuna", raising=False)
    with pytest.raises(SearchError) as caught:
        create("optuna", cube(2))
    assert "pip install 'hpcsearch[optuna]'" in caught.value.hint
