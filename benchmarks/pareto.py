"""Several objectives: how much of what can be dominated is dominated after so many evaluations, by simulation.

W workers whose evaluations take log-normal times, without any waiting. For each problem and search the dominated
hypervolume as a share of that of the whole front, as a mean over seeds; the mean over problems; ranks; and the CPU time
that asks and tells take for each evaluation.

    python benchmarks/pareto.py [SEARCH ...] [--workers 8] [--evals 100] [--seeds 10] [--only PROBLEM,...]

Searches are strategies, which are told both objectives; ``NAME-first`` is told the first alone. ``nsga2`` and ``tpe``
are Optuna's samplers with both objectives, in the same loop.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the driver does for its search

import argparse
import heapq
import itertools
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import optuna
import tables
from common import table
from scipy.stats import rankdata

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search
from hpcsearch.search.base import Objectives, Setting
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.optuna import OptunaSearch

Array = np.ndarray[Any, np.dtype[np.float64]]
Configuration = Mapping[str, Any]

#: Of a front that is not known as a formula or a table: what so many random configurations come to.
_SAMPLED = 100_000

SEARCHES = ("random", "ambs-first", "nsga2", "tpe", "ambs")


@dataclass(frozen=True)
class Task:
    """Two objectives to be minimised, and points on (or near) their whole front."""

    space: Callable[[], HpProblem]
    values: Callable[[Configuration], tuple[float, float]]
    front: Array

    @property
    def reference(self) -> Array:
        """What is worse than this counts for nothing: a tenth of the front's ranges behind its ends."""
        return np.asarray(self.front.max(axis=0) + 0.1 * np.ptp(self.front, axis=0))


def hypervolume(points: Array, reference: Array) -> float:
    """The area between a reference point and what two objectives to be minimised have come to."""
    inside = points[(points < reference).all(axis=1)]
    area, height = 0.0, reference[1]
    for x, y in inside[np.lexsort((inside[:, 1], inside[:, 0]))]:
        if y < height:
            area, height = area + (reference[0] - x) * (height - y), y
    return float(area)


# --- problems ---------------------------------------------------------------------------------------------------------


def _cube() -> HpProblem:
    problem = HpProblem(minimize=True)
    for index in range(6):
        problem.add_hyperparameter((0.0, 1.0), f"x{index}")
    return problem


def _formula(
    values: Callable[[float, Array], tuple[float, float]], front: Callable[[Array], tuple[Array, Array]]
) -> Task:
    return Task(
        _cube,
        lambda c: values(c["x0"], np.array([c[f"x{index}"] for index in range(1, 6)])),
        np.column_stack(front(np.linspace(0.0, 1.0, 1001))),
    )


def zdt1() -> Task:
    """A convex front (Zitzler, Deb, Thiele 2000), six hyperparameters."""

    def values(x: float, rest: Array) -> tuple[float, float]:
        g = 1 + 9 * float(rest.mean())
        return x, g * (1 - math.sqrt(x / g))

    return _formula(values, lambda x: (x, 1 - np.sqrt(x)))


def zdt2() -> Task:
    """A concave front."""

    def values(x: float, rest: Array) -> tuple[float, float]:
        g = 1 + 9 * float(rest.mean())
        return x, g * (1 - (x / g) ** 2)

    return _formula(values, lambda x: (x, 1 - x**2))


def dtlz2() -> Task:
    """A quarter of a circle (Deb and others, 2002)."""

    def values(x: float, rest: Array) -> tuple[float, float]:
        g, angle = 1 + float(((rest - 0.5) ** 2).sum()), x * math.pi / 2
        return g * math.cos(angle), g * math.sin(angle)

    return _formula(values, lambda x: (np.cos(x * math.pi / 2), np.sin(x * math.pi / 2)))


@cache
def mixed() -> Task:
    """Ranges, integers and choices: what is accurate is slow, and each kind has its own price."""

    def space() -> HpProblem:
        problem = HpProblem(minimize=True)
        problem.add_hyperparameter((1, 20), "layers")
        problem.add_hyperparameter((4, 1024, "log-uniform"), "width")
        problem.add_hyperparameter((1e-5, 1.0, "log-uniform"), "lr")
        problem.add_hyperparameter(["relu", "tanh", "gelu", "none"], "activation")
        problem.add_hyperparameter(["half", "single"], "precision")
        return problem

    best_lr = {"relu": -2.5, "tanh": -2.0, "gelu": -3.0, "none": -1.5}
    floor = {"relu": 0.05, "tanh": 0.08, "gelu": 0.03, "none": 0.3}
    price = {"relu": 1.0, "tanh": 1.5, "gelu": 2.0, "none": 0.8}

    def values(c: Configuration) -> tuple[float, float]:
        kind, half = c["activation"], c["precision"] == "half"
        capacity = math.log2(c["width"]) + 2 * math.log2(c["layers"])
        rate = math.log10(c["lr"]) - best_lr[kind] + 0.03 * c["layers"]
        error = floor[kind] + 0.6 * math.exp(-capacity / 5) + 0.1 * rate**2 + 0.02 * half + 0.002 * c["layers"]
        seconds = 1e-3 * c["layers"] * c["width"] * price[kind] * (0.6 if half else 1.0)
        return error, math.log10(seconds)

    encoding = Encoding(space().space)
    drawn = encoding.decode(encoding.draw(_SAMPLED, np.random.default_rng(0)))
    return Task(space, values, _front(np.array([values(one) for one in drawn])))


@cache
def tree() -> Task:
    """A decision tree on diabetes: its cross-validated error against the number of its leaves."""
    from sklearn.datasets import load_diabetes

    made = tables.load("tree_diabetes")
    x, y = load_diabetes(return_X_y=True)
    found: dict[tuple[Any, ...], tuple[float, float]] = {
        key: (error, float(tables.RECIPES["tree_diabetes"].estimator(*key).fit(x, y).get_n_leaves()))
        for key, error in made.errors.items()
    }

    def space() -> HpProblem:
        problem = HpProblem(minimize=True)
        for name, values in made.values.items():
            problem.add_hyperparameter(list(values), name)
        return problem

    return Task(space, lambda c: found[tuple(c[name] for name in made.values)], _front(np.array(list(found.values()))))


def _front(points: Array) -> Array:
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    lowest = np.minimum.accumulate(np.concatenate([[math.inf], ordered[:-1, 1]]))
    return np.asarray(ordered[ordered[:, 1] < lowest])


PROBLEMS: Mapping[str, Callable[[], Task]] = {one.__name__: one for one in (zdt1, zdt2, dtlz2, mixed, tree)}

# --- searches ---------------------------------------------------------------------------------------------------------


class OptunaFront(OptunaSearch):
    """A study with two directions."""

    objectives: Objectives = "several"

    def __init__(self, setting: Setting, sampler: str = "nsgaii", **options: Any) -> None:
        super().__init__(setting, sampler, **options)

    def _started(self) -> Any:
        if self._study is None:
            seed = int(self._setting.random.integers(2**31))
            sampler = self._class(seed=seed, **self._options)
            self._study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler)
        return self._study


#: A population of 50, which is Optuna's default, would be half of the evaluations.
_OPTUNA: Mapping[str, Mapping[str, Any]] = {
    "nsga2": {"sampler": "nsgaii", "population_size": 20},
    "tpe": {"sampler": "tpe"},
}


def make_search(name: str, problem: HpProblem, seed: int) -> Search:
    if name in _OPTUNA:
        return create(f"{__file__}:OptunaFront", problem, seed=seed, **_OPTUNA[name])
    return create(name.removesuffix("-first"), problem, seed=seed)


def simulate(name: str, task: Task, evaluations: int, workers: int, seed: int) -> tuple[float, float]:
    """The share of the front's hypervolume in the end, and CPU milliseconds an evaluation."""
    search, first = make_search(name, task.space(), seed), name.endswith("-first")
    rng = np.random.default_rng((seed, 0xD07A))
    running: list[tuple[float, int, dict[str, Any]]] = []
    points: list[tuple[float, float]] = []
    now, started, cpu_s = 0.0, 0, 0.0
    while started < evaluations or running:
        before = time.process_time()
        for configuration in search.ask(min(workers - len(running), evaluations - started)):
            heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), started, configuration))
            started += 1
        now, _, configuration = heapq.heappop(running)
        cpu_s += time.process_time() - before
        points.append(task.values(configuration))
        before = time.process_time()
        search.tell([(configuration, points[-1][0] if first else points[-1])])
        cpu_s += time.process_time() - before
    reached = hypervolume(np.array(points), task.reference) / hypervolume(task.front, task.reference)
    return reached, 1000 * cpu_s / started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SEARCH")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--evals", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", help="problems, with commas between")
    chosen = parser.parse_args()
    names, problems = chosen.names or list(SEARCHES), chosen.only.split(",") if chosen.only else list(PROBLEMS)
    reached, cpu_ms = np.empty((2, len(problems), len(names), chosen.seeds))
    for (p, problem), (n, name), seed in itertools.product(enumerate(problems), enumerate(names), range(chosen.seeds)):
        outcome = simulate(name, PROBLEMS[problem](), chosen.evals, chosen.workers, chosen.first_seed + seed)
        reached[p, n, seed], cpu_ms[p, n, seed] = outcome
    lines: list[list[object]] = [
        [problem, *(f"{one.mean():.3f} ± {one.std(ddof=1):.3f}" for one in reached[p])]
        for p, problem in enumerate(problems)
    ]
    lines.append(["mean", *(f"{one:.3f}" for one in reached.mean(axis=(0, 2)))])
    ranks = rankdata(-reached, axis=1)  # ties shared
    lines.append(["average rank", *(f"{one:.2f}" for one in ranks.mean(axis=(0, 2)))])
    lines.append(["CPU ms an evaluation", *(f"{one:.1f}" for one in cpu_ms.mean(axis=(0, 2)))])
    table(
        f"{chosen.workers} workers, {chosen.evals} evaluations, {chosen.seeds} seeds: "
        "share of the front's hypervolume, mean and standard deviation over seeds",
        ["", *names],
        lines,
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        main()
