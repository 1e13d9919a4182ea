"""How good searches are, by simulation: W workers whose evaluations take log-normal times, without any waiting.

For each problem the mean regret (of the configuration that looked best, without its noise) as a share of random
search's; for each search the mean share over problems, the average rank with a 95% interval over problems and seeds,
the share of problems on which it is the best, and the CPU time that its asks and tells take for each evaluation.

    python benchmarks/search_quality.py ambs de optuna,sampler=tpe [--suite public] [--workers 8] [--evals 100]
        [--seeds 10] [--only PROBLEM,...] [--curves] [--save FILE.json] [--with FILE.json ...]

A search is named as in ``--search``, with arguments after commas. Peers are strategies, too: Optuna's samplers with
``optuna,sampler=...``, DeepHyper's and SMAC's of ``benchmarks/peers.py``, any other as ``path/to/file.py:Class``.
Each may have an environment of its own: ``--save`` there, and ``--with`` the saved files in the end, which ``--save``
joins. ``--curves`` prints the mean share by the number of evaluations.

``peer_runs`` has runs of peers that take hours; give as many ``--seeds`` as all that you compare have.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the driver does for its search

import argparse
import itertools
import json
import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import table
from problems import SUITES
from simulation import make_search, make_task, simulate

from hpcsearch.errors import SearchError

#: What all are measured against. It is cheap, and its mean has to be known well: so it gets more seeds.
BASELINE, BASELINE_SEEDS = "random", 4

#: Points of a regret curve, as shares of the evaluations.
CURVE = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)

#: suite, problem, workers, evaluations, search, seed
Key = tuple[str, str, int, int, str, int]

#: Regrets along the curve, and CPU milliseconds an evaluation.
Run = tuple[list[float], float]
Runs = dict[Key, Run]


def measure(chosen: argparse.Namespace) -> Runs:
    """Runs what is asked for."""
    runs: Runs = {}
    suite = SUITES[chosen.suite]
    for problem, name in itertools.product(chosen.only or suite, chosen.names):
        seeds = chosen.seeds * (BASELINE_SEEDS if name == BASELINE else 1)
        for seed in range(chosen.first_seed, chosen.first_seed + seeds):
            task = make_task(suite, problem, seed)
            outcome = simulate(make_search(name, task, seed), task, chosen.evals, chosen.workers, seed)
            last = len(outcome.regrets) - 1
            points = [outcome.regrets[min(round(share * chosen.evals) - 1, last)] for share in CURVE]
            runs[chosen.suite, problem, chosen.workers, chosen.evals, name, seed] = (points, outcome.cpu_ms)
    return runs


def saved(files: Iterable[Path]) -> Runs:
    """Runs that were kept; of the same one the last."""
    return {tuple(of[:6]): (of[6], of[7]) for path in files for of in json.loads(path.read_text())}


def report(runs: Runs, curves: bool) -> None:
    """Prints tables for each suite, number of workers and budget."""
    for suite, workers, evaluations in dict.fromkeys((key[0], key[2], key[3]) for key in runs):
        here = {
            (problem, name, seed): run
            for (of, problem, w, e, name, seed), run in runs.items()
            if (of, w, e) == (suite, workers, evaluations)
        }
        names = list(dict.fromkeys(name for _, name, _ in here))
        final = by_problem(here, -1)
        shares = shares_of(final)
        seeds = min(len(of) for one in final.values() for of in one.values())
        lines: list[list[object]] = [
            [problem, *(f"{of[name]:.3f}" if name in of else "" for name in names)] for problem, of in shares.items()
        ]
        lines.append(["mean", *(f"{mean_share(shares, name):.3f}" for name in names)])
        lines.append(["average rank", *average_ranks(final, names)])
        lines.append(["best on", *best_on(shares, names)])
        costs = [mean(run[1] for (_, one, _), run in here.items() if one == name) for name in names]
        lines.append(["CPU ms an evaluation", *(f"{cost:.2f}" for cost in costs)])
        base = BASELINE if BASELINE in names else names[0]
        title = f"{suite}, {workers} workers, {evaluations} evaluations, {seeds} seeds: regret / {base}'s"
        table(title, ["", *names], lines)
        if curves:
            rows = [shares_of(by_problem(here, point)) for point in range(len(CURVE))]
            table(
                "mean share after so many evaluations",
                ["", *names],
                [
                    [round(point * evaluations), *(f"{mean_share(row, name):.3f}" for name in names)]
                    for point, row in zip(CURVE, rows, strict=True)
                ],
            )


Regrets = Mapping[str, Mapping[str, Mapping[int, float]]]


def by_problem(runs: Mapping[tuple[str, str, int], Run], point: int) -> Regrets:
    """Regrets at a point of the curve by problem, search and seed."""
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for (problem, name, seed), (regrets, _) in runs.items():
        found[problem][name][seed] = regrets[point]
    return found


def shares_of(regrets: Regrets) -> dict[str, dict[str, float]]:
    """Mean regrets as shares of the baseline's, by problem and search."""
    shares = {}
    for problem, of in regrets.items():
        base = mean((of.get(BASELINE) or next(iter(of.values()))).values())
        shares[problem] = {name: share(mean(one.values()), base) for name, one in of.items()}
    return shares


def mean_share(shares: Mapping[str, Mapping[str, float]], name: str) -> float:
    """The mean over those problems that a search has run."""
    return mean(of[name] for of in shares.values() if name in of)


def best_on(shares: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> list[str]:
    """On how many of the problems each is the best."""
    whole = [of for of in shares.values() if len(of) == len(names)]
    return [f"{sum(of[name] <= min(of.values()) for of in whole)}/{len(whole)}" for name in names]


def average_ranks(regrets: Regrets, names: Sequence[str]) -> list[str]:
    """Ranks in each problem and seed that all have run, ties shared, with a 95% interval."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for of in regrets.values():
        if len(of) < len(names):
            continue
        for seed in set.intersection(*(set(one) for one in of.values())):
            values = np.array([of[name][seed] for name in names])
            values = np.where(np.isnan(values), np.inf, values)
            for name, value in zip(names, values, strict=True):
                below, same = np.sum(values < value), np.sum(values == value)
                found[name].append(float(below + (same + 1) / 2))
    return [
        f"{mean(of):.2f}±{1.96 * float(np.std(of)) / math.sqrt(len(of)):.2f}" if of else "" for of in found.values()
    ]


def share(regret: float, of: float) -> float:
    """Regret as a share of the baseline's; where that one has none, there is nothing to gain."""
    return regret / of if of > 0 else 1.0


def mean(values: Iterable[Any]) -> float:
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
    parser.add_argument("--only", type=lambda text: text.split(","), help="problems, with commas between")
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--with", dest="others", type=Path, nargs="*", default=[])
    chosen = parser.parse_args()
    if not chosen.names and not chosen.others:
        parser.error("name a search, such as ambs, or --with a file of runs")
    unknown = set(chosen.only or ()) - SUITES[chosen.suite].keys()
    if unknown:
        known = ", ".join(SUITES[chosen.suite])
        parser.error(f"the suite {chosen.suite} has no problem {min(unknown)!r}; it has {known}")
    try:
        runs = saved(chosen.others)  # before hours are spent on what is to be compared with them
    except (OSError, ValueError) as error:
        parser.error(f"--with: {error}")
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    runs = {key: run for key, run in runs.items() if key[4] == BASELINE or key[5] in seeds}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runs |= measure(chosen)
        except SearchError as error:  # a name or an argument: all are tried on the first problem
            parser.error(f"{error.message} {error.hint}")
    if chosen.save:
        lines = (json.dumps([*key, *run]) for key, run in runs.items())
        chosen.save.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    report(runs, chosen.curves)


if __name__ == "__main__":
    main()
