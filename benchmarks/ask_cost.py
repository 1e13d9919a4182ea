"""What a search costs: seconds of CPU for an ask and for a tell, by how much is known.

For each n, results of a test function are told at once; then, each several times over: the time of the slowest and the
median ask of one and of 64, with as many pending as there are workers, of a model-based search that works in the call,
and in the background (where an ask answers from what is ready); the CPU time that the background takes for each
evaluation, when one result comes and one configuration is asked for at a time; and the slowest fit.

    python benchmarks/ask_cost.py [--sizes 100,1000,5000] [--dimensions 10] [--workers 64] [--repeats 20]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import median, table

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search import model as models
from hpcsearch.search.asktell import Search


def space(dimensions: int) -> HpProblem:
    """Floats, two integers and two choices."""
    problem = HpProblem()
    for index in range(dimensions - 4):
        problem.add_hyperparameter((0.0, 1.0), f"x{index}")
    problem.add_hyperparameter((1, 100), "n0")
    problem.add_hyperparameter((1, 1000, "log-uniform"), "n1")
    problem.add_hyperparameter(["a", "b", "c"], "k0")
    problem.add_hyperparameter(["a", "b", "c", "d"], "k1")
    return problem


def worth(configuration: dict[str, Any]) -> float:
    """Greater is better."""
    floats = [value for name, value in configuration.items() if name.startswith("x")]
    return (
        -sum((value - 0.3) ** 2 for value in floats) - abs(configuration["n0"] - 30) / 50 + (configuration["k0"] == "a")
    )


def grown(problem: HpProblem, n: int, workers: int, background: bool) -> Search:
    """A search that knows n results and as many pending configurations as there are workers."""
    search = create("ambs", problem, seed=0, background=background)
    known = create("random", problem, seed=1).ask(n + workers)
    search.tell([(configuration, worth(configuration)) for configuration in known[:n]])
    search.pending(known[n:])
    wait(search)
    return search


def wait(search: Search) -> None:
    """Waits for the search's thread."""
    background = search.strategy._background  # type: ignore[attr-defined]
    if background is not None and background._thread is not None:
        background._thread.join()


def timed_ms(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    """Milliseconds, and what the call returns."""
    before = clock()
    result = call()
    return 1000 * (clock() - before), result


def asks_ms(search: Search, size: int, repeats: int) -> list[float]:
    """Milliseconds of asks, each after one result, and with the background at rest."""
    found = []
    (previous,) = search.ask(1)
    for _ in range(repeats):
        search.tell([(previous, worth(previous))])
        wait(search)
        milliseconds, asked = timed_ms(lambda: search.ask(size))
        found.append(milliseconds)
        previous = asked[0]
        wait(search)
    return found


def cycle_ms(search: Search, repeats: int) -> float:
    """CPU milliseconds of a tell and an ask, with all that the background does for them."""

    def cycles() -> None:
        for _ in range(repeats):
            search.tell([(configuration, worth(configuration)) for configuration in search.ask(1)])
            wait(search)

    return timed_ms(cycles, time.process_time)[0] / repeats


def fits_ms(search: Search, repeats: int) -> list[float]:
    """Milliseconds of fits from no previous ones."""
    strategy, rng = search.strategy, np.random.default_rng(0)
    data = strategy._history.data()  # type: ignore[attr-defined]
    encoding = strategy._setting.encoding  # type: ignore[attr-defined]
    return [timed_ms(lambda: models.Learner(encoding, 300).learn(data, rng))[0] for _ in range(repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000")
    parser.add_argument("--dimensions", type=int, default=10)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args()
    lines = []
    for n in map(int, chosen.sizes.split(",")):
        problem = space(chosen.dimensions)
        cells: list[object] = [n]
        for background in (False, True):
            for size in (1, 64):
                found = asks_ms(grown(problem, n, chosen.workers, background), size, chosen.repeats)
                cells.append(f"{median(found):.1f} ({max(found):.1f})")
        cells.append(f"{cycle_ms(grown(problem, n, chosen.workers, True), 2 * chosen.repeats):.1f}")
        cells.append(f"{max(fits_ms(grown(problem, n, chosen.workers, False), 5)):.0f}")
        lines.append(cells)
    table(
        f"milliseconds, {chosen.dimensions} hyperparameters, {chosen.workers} pending: median (slowest)",
        ["n", "ask 1", "ask 64", "background: ask 1", "ask 64", "CPU a cycle", "slowest fit"],
        lines,
    )


if __name__ == "__main__":
    main()
