"""What a generation's end costs: differential evolution as it is here, against forms of it that wait, by simulation.

W workers, and evaluations that take log-normal times. ``steady`` is the strategy de: each worker gets the next
configuration when its evaluation ends. ``barrier`` is the same strategy, asked for a whole population and told when the
last of its evaluations has ended. ``rand/1/bin`` is what people know from Hops: generations, donors drawn at random.
Printed for each problem: wall times as shares of that with a barrier, and regrets after the same number of evaluations
as shares of it (means over seeds); below, the means over problems, geometric for regrets, with the 95% interval that
problems and seeds drawn anew would give (bootstrap).

    python benchmarks/evolution.py [--suite public] [--population 10] [--workers 8] [--generations 15] [--sigma 0.5]
        [--seeds 10] [--only PROBLEM,...]
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import table
from problems import SUITES, Task

from hpcsearch.search.asktell import Search
from hpcsearch.search.base import Setting
from hpcsearch.search.columns import Array
from hpcsearch.search.de import DeSearch, Indices
from hpcsearch.search.encoding import Encoding


class RandOneBin(DeSearch):
    """The textbook's differential evolution, with Hops' settings; its generations are the caller's affair."""

    def _trials(self, targets: Indices) -> Array:
        rng, rows, n = self._setting.random, self._rows, len(targets)
        donors = np.array([rng.choice(len(rows), 3, replace=False) for _ in range(n)]).T
        crossed = rng.random((n, rows.shape[1])) < self._crossover
        trials = rows[targets]
        for index, column in enumerate(self._setting.encoding.columns):
            base, minus, plus = rows[donors, index]
            lower, upper = np.add(column.reach, (1e-9, -1e-9))  # of whole numbers the ends themselves are outside
            moved = np.clip(np.where(np.isnan(base), lower, base) + 0.5 * np.nan_to_num(plus - minus), lower, upper)
            chosen = column.settle(moved) if column.ordered else base
            trials[:, index] = np.where(crossed[:, index] & ~np.isnan(base), chosen, trials[:, index])
        return trials


#: Form -> the strategy, and whether it waits for the end of a generation.
FORMS: Mapping[str, tuple[type[DeSearch], bool]] = {
    "barrier": (DeSearch, True),
    "steady": (DeSearch, False),
    "rand/1/bin": (RandOneBin, True),
}

#: Regrets below this are none.
LEAST = 1e-6


@dataclass
class Outcome:
    """How long a search took (in mean durations of an evaluation), and how far its best was from the least."""

    wall: float
    regret: float


Outcomes = Mapping[str, Sequence[Outcome]]


class Run:
    """One search of a task; an evaluation takes the same time in both forms when it has the same number."""

    def __init__(
        self, task: Task, strategy: type[DeSearch], population: int, evaluations: int, sigma: float, seed: int
    ) -> None:
        self._task = task
        random = np.random.Generator(np.random.PCG64(seed))
        setting = Setting(task.problem, Encoding(task.problem.space), random)
        self._search = Search(strategy(setting, population, mutation=0.5, crossover=0.7), setting, seed)
        rng = np.random.default_rng((seed, 1))
        self._durations = rng.lognormal(-(sigma**2) / 2, sigma, evaluations).tolist()
        self._noise = rng.standard_normal(evaluations)
        self._shown = self._true = math.inf
        self._done = 0

    def steady(self, workers: int) -> Outcome:
        """Every worker gets the next configuration at once."""
        running: list[tuple[float, int, dict[str, Any]]] = []
        now, started = 0.0, 0
        while started < len(self._durations) or running:
            for configuration in self._search.ask(min(workers - len(running), len(self._durations) - started)):
                heapq.heappush(running, (now + self._durations[started], started, configuration))
                started += 1
            if not running:
                break
            now, _, configuration = heapq.heappop(running)
            self._search.tell([(configuration, self._value(configuration))])
        return Outcome(now, self._regret())

    def with_barrier(self, workers: int, population: int) -> Outcome:
        """A generation begins when the one before has ended."""
        now, started = 0.0, 0
        while started < len(self._durations):
            generation = self._search.ask(min(population, len(self._durations) - started))
            if not generation:
                break
            free = [now] * workers
            for index in range(started, started + len(generation)):
                heapq.heapreplace(free, free[0] + self._durations[index])
            now, started = max(free), started + len(generation)
            self._search.tell([(configuration, self._value(configuration)) for configuration in generation])
        return Outcome(now, self._regret())

    def _value(self, configuration: dict[str, Any]) -> float | None:
        value = self._task.value(configuration)
        told = None if value is None else value + self._task.noise * float(self._noise[self._done])
        self._done += 1
        if value is not None and told is not None and told < self._shown:
            self._shown, self._true = told, value
        return told

    def _regret(self) -> float:
        return max(self._true - self._task.least, 0.0)


def outcomes(problem: str, chosen: argparse.Namespace) -> dict[str, list[Outcome]]:
    """By form, the outcome for each seed."""
    found: dict[str, list[Outcome]] = {}
    for seed in range(chosen.seeds):
        task = SUITES[chosen.suite][problem](np.random.default_rng((seed, 0)))
        for form, (strategy, waits) in FORMS.items():
            evaluations = chosen.population * chosen.generations
            run = Run(task, strategy, chosen.population, evaluations, chosen.sigma, seed)
            outcome = run.with_barrier(chosen.workers, chosen.population) if waits else run.steady(chosen.workers)
            found.setdefault(form, []).append(outcome)
    return found


def regret_share(of: Outcomes, form: str, seeds: Sequence[int]) -> float:
    """A form's mean regret over some seeds as a share of that with a barrier; where neither has any, 1."""
    regret, base = (statistics.fmean(of[one][seed].regret for seed in seeds) for one in (form, "barrier"))
    return (regret + LEAST) / (base + LEAST)


def geometric(shares: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, shares)))


def interval(found: Mapping[str, Outcomes], form: str, seeds: int) -> str:
    """The mean share of regret over problems, with its 95% interval."""
    rng, problems = np.random.default_rng(0), list(found)
    drawn = [
        geometric([regret_share(found[problem], form, rng.integers(seeds, size=seeds).tolist()) for problem in some])
        for some in rng.choice(problems, (2000, len(problems))).tolist()
    ]
    whole = geometric([regret_share(of, form, range(seeds)) for of in found.values()])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{whole:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="public", choices=sorted(SUITES))
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--generations", type=int, default=15)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="problems, with commas between")
    chosen = parser.parse_args()
    problems = chosen.only.split(",") if chosen.only else list(SUITES[chosen.suite])
    found = {problem: outcomes(problem, chosen) for problem in problems}
    others = [form for form in FORMS if form != "barrier"]

    def wall(of: Outcomes, form: str) -> float:
        return statistics.fmean(one.wall / base.wall for one, base in zip(of[form], of["barrier"], strict=True))

    lines = []
    for problem, of in found.items():
        shares = [regret_share(of, form, range(chosen.seeds)) for form in others]
        lines.append([problem, *(f"{wall(of, form):.2f}" for form in others), *(f"{share:.2f}" for share in shares)])
    walls = [f"{statistics.fmean(wall(of, form) for of in found.values()):.2f}" for form in others]
    lines.append(["mean", *walls, *(interval(found, form, chosen.seeds) for form in others)])
    table(
        f"{chosen.suite}, population {chosen.population}, {chosen.workers} workers, "
        f"{chosen.population * chosen.generations} evaluations of log-normal times (sigma {chosen.sigma:g}), "
        f"{chosen.seeds} seeds; all as shares of the form with a barrier",
        ["", *(f"time, {form}" for form in others), *(f"regret, {form}" for form in others)],
        lines,
    )


if __name__ == "__main__":
    main()
