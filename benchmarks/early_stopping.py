"""What early stopping is worth, by simulation over recorded learning curves of real models (``curves.py``).

W workers train configurations epoch by epoch, each epoch as long as it really took (times a log-normal factor of the
evaluation's own); nothing waits. The search is finished when an evaluation that came to its end has reached 95% of the
best that is known; what was stopped does not count. The time until then, as a share of the time without stopping.

    python benchmarks/early_stopping.py [RULE ...] [--searches random ambs] [--workers 8] [--seeds 10] [--share 0.95]
        [--gap] [--reported] [--only PROBLEM,...]

A rule is ``asha`` or ``median``, with arguments after a colon: ``asha:eta=4,first=1``. ``--gap`` asks instead for that
share of the way from the median configuration to the best. ``--reported`` takes a target as reached by the first report
that comes to it, as where run functions keep the best checkpoint, and not by an evaluation that has come to its end.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import table
from curves import EPOCHS, RECIPES, Curves, curves

from hpcsearch import HpProblem
from hpcsearch.search import create
from hpcsearch.search.stopping import create as create_stopper

NOTHING = "none"


@dataclass(frozen=True)
class Outcome:
    """When the target was reached, how many evaluations were begun until then, and whether it ever was.

    Where the rule has stopped all that would have come to it, the time is that of training every configuration.
    """

    time: float
    begun: int
    reached: bool = True


def problem_of(found: Curves) -> HpProblem:
    """The grid as a search space."""
    problem = HpProblem()
    for name, values in found.values.items():
        problem.add_hyperparameter(list(values), name)
    return problem


def arguments_of(text: str) -> tuple[str, dict[str, str]]:
    """A name, and its arguments behind a colon."""
    name, _, rest = text.partition(":")
    return name, dict(pair.split("=") for pair in rest.split(",") if pair)


def simulate(
    found: Curves, search_name: str, rule_name: str, target: float, workers: int, seed: int, reported: bool = False
) -> Outcome:
    """Runs one search until an evaluation that finished, or with ``reported`` any report, has reached the target."""
    name, arguments = arguments_of(search_name)
    search = create(name, problem_of(found), seed=seed, **arguments)
    kind, settings = arguments_of(rule_name)
    rule = None if kind == NOTHING else create_stopper(kind, None, **settings)
    rng = np.random.default_rng((seed, 2))
    mean_s = float(np.mean([curve.epoch_s for curve in found.of.values()]))
    running: list[tuple[float, int, int, float, dict[str, Any]]] = []
    now, begun = 0.0, 0
    while True:
        for configuration in search.ask(workers - len(running)) if len(running) < workers else ():
            epoch = found.of[tuple(configuration[name] for name in found.values)].epoch_s / mean_s
            epoch *= rng.lognormal(0.0, 0.2)
            begun += 1
            heapq.heappush(running, (now + epoch, begun, 1, epoch, configuration))
        if not running:
            return Outcome(EPOCHS * len(found.of) / workers, begun, reached=False)
        now, number, epochs, epoch, configuration = heapq.heappop(running)
        score = found.of[tuple(configuration[name] for name in found.values)].scores[epochs - 1]
        if reported and score >= target:
            return Outcome(now, begun)
        if rule is not None and epochs < EPOCHS and rule.tell(number, float(epochs), score):
            rule.ended(number, False)
            search.tell_stopped([(configuration, score)])
        elif epochs < EPOCHS:
            if rule is not None and epochs.bit_count() == 1:
                search.progress([(configuration, score)])
            heapq.heappush(running, (now + epoch, number, epochs + 1, epoch, configuration))
        else:
            if rule is not None:
                rule.tell(number, float(epochs), score)
                rule.ended(number, True)
            search.tell([(configuration, score)])
            if score >= target:
                return Outcome(now, begun)


def target_of(found: Curves, chosen: argparse.Namespace) -> float:
    """What an evaluation has to reach."""
    if not chosen.gap:
        return float(chosen.share * found.best)
    middle = float(np.median([curve.scores[-1] for curve in found.of.values()]))
    return middle + chosen.share * (found.best - middle)


def measure(chosen: argparse.Namespace) -> None:
    """Runs all and prints a table for each search."""
    problems = chosen.only.split(",") if chosen.only else list(RECIPES)
    for search in chosen.searches:
        outcomes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
        for problem, rule, seed in itertools.product(problems, [NOTHING, *chosen.rules], range(chosen.seeds)):
            found = curves(problem)
            outcomes[problem, rule].append(
                simulate(found, search, rule, target_of(found, chosen), chosen.workers, seed, chosen.reported)
            )
        report(f"{search}, {chosen.workers} workers, {chosen.seeds} seeds", problems, chosen.rules, outcomes)


def report(
    title: str, problems: Sequence[str], rules: Sequence[str], outcomes: dict[tuple[str, str], list[Outcome]]
) -> None:
    """Prints the table of one search."""
    lines: list[list[object]] = []
    shares: dict[str, list[float]] = defaultdict(list)
    medians: dict[str, list[float]] = defaultdict(list)
    for problem in problems:
        without = outcomes[problem, NOTHING]
        base = float(np.mean([one.time for one in without]))
        line: list[object] = [problem, f"{base / EPOCHS:.1f}", f"{np.mean([one.begun for one in without]):.0f}"]
        for rule in rules:
            missed = sum(not one.reached for one in outcomes[problem, rule])
            times = [one.time for one in outcomes[problem, rule]]
            share = float(np.mean(times)) / base
            middle = float(np.median(times) / np.median([one.time for one in without]))
            medians[rule].append(middle)
            shares[rule].append(share)
            begun = np.mean([one.begun for one in outcomes[problem, rule]])
            line += [f"{share:.2f}, {middle:.2f}" + (f" ({missed} never)" if missed else ""), f"{begun:.0f}"]
        lines.append(line)
    means: list[object] = ["mean", "", ""]
    for rule in rules:
        means += [f"{np.mean(shares[rule]):.2f}, {np.mean(medians[rule]):.2f}", ""]
    header = ["", "without", "begun", *(word for rule in rules for word in (rule, "begun"))]
    words = "time in whole trainings, shares of it by means and by medians over seeds, and evaluations begun"
    table(f"{title}: {words}", header, [*lines, means])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", default=["asha", "median"])
    parser.add_argument("--searches", nargs="+", default=["random", "ambs"])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.95)
    parser.add_argument("--gap", action="store_true")
    parser.add_argument("--reported", action="store_true")
    parser.add_argument("--only", help="problems, with commas between")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure(parser.parse_args())


if __name__ == "__main__":
    main()
