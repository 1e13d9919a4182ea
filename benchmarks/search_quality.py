"""How good searches are, by simulation: W workers whose evaluations take log-normal times, without any waiting.

For each problem the mean regret (of the configuration that looked best, without its noise) as a share of random
search's, for each strategy the mean share over problems, the average rank with a 95% interval over problems and seeds,
and the CPU time that its asks and tells take for each evaluation.

    python benchmarks/search_quality.py random ambs ambs:kappa=3 optuna:tpe optuna:gp [--suite public] [--workers 8]
        [--evals 100] [--seeds 10] [--only PROBLEM,...] [--save FILE.json] [--with FILE.json ...]

A name is a strategy's, with arguments after a colon, or an Optuna sampler's where Optuna is installed. ``--with`` adds
what other runs have saved, of another version or from another environment.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from common import table
from problems import SUITES, Task

from hpcsearch.search import create

#: suite, problem, workers, evaluations, strategy, seed -> regret, CPU milliseconds an evaluation.
Key = tuple[str, str, int, int, str, int]
Runs = dict[Key, tuple[float, float]]


class Asked(Protocol):
    """What is needed of a search."""

    def ask(self, n: int) -> list[dict[str, Any]]: ...

    def tell(self, results: Sequence[tuple[Mapping[str, Any], float | None]]) -> None: ...


class OptunaSearch:
    """An Optuna sampler, asked and told in the same way."""

    def __init__(self, sampler: str, task: Task, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True, group=True),
            "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed),
        }
        self._study = optuna.create_study(sampler=samplers[sampler]())
        self._space = task.problem.space
        self._running: dict[str, Any] = {}

    def ask(self, n: int) -> list[dict[str, Any]]:
        asked = []
        for _ in range(n):
            trial = self._study.ask()
            configuration = self._suggest(trial)
            asked.append(configuration)
            self._running.setdefault(json.dumps(configuration, sort_keys=True), []).append(trial)
        return asked

    def tell(self, results: Sequence[tuple[Mapping[str, Any], float | None]]) -> None:
        from optuna.trial import TrialState

        for configuration, value in results:
            trial = self._running[json.dumps(configuration, sort_keys=True)].pop()
            if value is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, value)

    def _suggest(self, trial: Any) -> dict[str, Any]:
        vector, configuration = np.full(len(self._space), np.nan), dict[str, Any]()
        for name, one in self._space.items():  # parents come before their children
            if not all(condition.satisfied_by_vector(vector) for condition in self._space.parent_conditions_of[name]):
                continue
            if hasattr(one, "log"):
                suggest = trial.suggest_int if isinstance(one.lower, int) else trial.suggest_float
                value = suggest(name, one.lower, one.upper, log=one.log)
            elif hasattr(one, "sequence") and all(isinstance(entry, (int, float)) for entry in one.sequence):
                value = one.sequence[trial.suggest_int(name, 0, len(one.sequence) - 1)]
            else:
                value = trial.suggest_categorical(name, [_plain(choice) for choice in one.choices])
            configuration[name] = _plain(value)
            vector[self._space.index_of[name]] = one.to_vector(value)
        return configuration


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def make(name: str, task: Task, seed: int) -> Asked:
    """A search by its name on the command line."""
    base, _, rest = name.partition(":")
    if base == "optuna":
        return OptunaSearch(rest, task, seed)
    arguments = dict(pair.split("=") for pair in rest.split(",") if pair)
    return create(base, task.problem, seed=seed, **arguments)


def simulate(search: Asked, task: Task, evaluations: int, workers: int, seed: int) -> tuple[float, float]:
    """Regret, and CPU milliseconds of the search for each evaluation."""
    rng = np.random.default_rng((seed, 1))
    running: list[tuple[float, int, dict[str, Any]]] = []
    shown, true, now, started, cpu_s = math.inf, math.nan, 0.0, 0, 0.0
    worst = -math.inf
    while started < evaluations or running:
        wanted = min(workers - len(running), evaluations - started)
        if wanted:
            before = time.process_time()
            asked = search.ask(wanted)
            cpu_s += time.process_time() - before
            for configuration in asked:
                heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), started, configuration))
                started += 1
            if not asked:
                evaluations = started
        if not running:
            break
        now, _, configuration = heapq.heappop(running)
        value = task.value(configuration)
        told = None if value is None else value + task.noise * rng.standard_normal()
        if value is not None and told is not None:
            worst = max(worst, value)
            if told < shown:
                shown, true = told, value
        before = time.process_time()
        search.tell([(configuration, told)])
        cpu_s += time.process_time() - before
    return max(true - task.least, 0.0), 1000 * cpu_s / max(1, started)


def measure(names: Sequence[str], chosen: argparse.Namespace) -> Runs:
    """Runs what is asked for."""
    runs: Runs = {}
    suite = SUITES[chosen.suite]
    problems = chosen.only.split(",") if chosen.only else list(suite)
    for problem, seed, name in itertools.product(
        problems, range(chosen.first_seed, chosen.first_seed + chosen.seeds), names
    ):
        task = suite[problem](np.random.default_rng((seed, 0)))
        result = simulate(make(name, task, seed), task, chosen.evals, chosen.workers, seed)
        runs[chosen.suite, problem, chosen.workers, chosen.evals, name, seed] = result
    return runs


def report(runs: Runs, baseline: str = "random") -> None:
    """Prints a table for each suite, number of workers and budget."""
    for suite, workers, evaluations in dict.fromkeys((key[0], key[2], key[3]) for key in runs):
        regrets: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        cost = defaultdict(list)
        for (of, problem, w, e, name, seed), (regret, cpu_ms) in runs.items():
            if (of, w, e) == (suite, workers, evaluations):
                regrets[problem][name][seed] = regret
                cost[name].append(cpu_ms)
        names = list(cost)
        baseline = baseline if baseline in names else names[0]
        shares = {
            problem: {name: share(mean(of[name].values()), mean(of[baseline].values())) for name in names if name in of}
            for problem, of in regrets.items()
        }
        ranks = average_ranks(regrets, names)
        lines = [
            [problem, *(f"{of[name]:.3f}" if name in of else "" for name in names)] for problem, of in shares.items()
        ]
        lines.append(["mean", *(f"{mean(of[name] for of in shares.values() if name in of):.3f}" for name in names)])
        lines.append(["average rank", *ranks])
        lines.append(["CPU ms an evaluation", *(f"{mean(cost[name]):.2f}" for name in names)])
        seeds = max(len(of) for problem in regrets.values() for of in problem.values())
        table(
            f"{suite}, {workers} workers, {evaluations} evaluations, {seeds} seeds: regret / {baseline}'s",
            ["", *names],
            lines,
        )


def average_ranks(regrets: Mapping[str, Mapping[str, Mapping[int, float]]], names: Sequence[str]) -> list[str]:
    """Ranks in each problem and seed that all have run, ties shared, with a 95% interval."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for of in regrets.values():
        if len(of) < len(names):
            continue
        for seed in set.intersection(*(set(one) for one in of.values())):
            values = np.array([of[name][seed] for name in names])
            for index, name in enumerate(names):
                below, same = np.sum(values < values[index]), np.sum(values == values[index])
                found[name].append(float(below + (same + 1) / 2))
    return [
        f"{mean(of):.2f}±{1.96 * float(np.std(of)) / math.sqrt(len(of)):.2f}" if of else "" for of in found.values()
    ]


def share(regret: float, of: float) -> float:
    """Regret as a share of the baseline's; where that one has none, there is nothing to gain."""
    return regret / of if of > 0 else 1.0


def mean(values: Any) -> float:
    """The mean; NaN counts as the worst seen (nothing succeeded)."""
    array = np.array(list(values), dtype=np.float64)
    return float(np.where(np.isnan(array), np.nanmax(array), array).mean()) if len(array) else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suite", default="public", choices=sorted(SUITES))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--evals", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", help="problems, with commas between")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--with", dest="others", type=Path, nargs="*", default=[])
    chosen = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = measure(chosen.names, chosen)
    if chosen.save:
        chosen.save.write_text(json.dumps([[*key, *result] for key, result in runs.items()]))
    merged: Runs = {}
    for path in chosen.others:
        merged |= {tuple(entry[:6]): (entry[6], entry[7]) for entry in json.loads(path.read_text())}
    report({**merged, **runs})


if __name__ == "__main__":
    main()
