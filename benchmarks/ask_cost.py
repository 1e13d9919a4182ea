"""What a search costs: milliseconds for an ask, and CPU for what the background does, by how much is known.

For each n, results of a test function are told at once; then, each several times over: the time of the median and the
slowest ask of one and of 64, with as many pending as there are workers, of a model-based search that works in the call
(CPU), and in the background (what the caller waits), where an ask answers from what is ready; the same asks while a
model is being fitted beside them; and the CPU time that everything takes for each evaluation, fits included, when one
result comes and one configuration is asked for at a time, over so many that the model is replaced several times.
Beside them, as a measure of the core: the product of two matrices of 600 by 600.

    python benchmarks/ask_cost.py [--sizes 100,1000,5000,10000] [--dimensions 10] [--workers 64] [--repeats 20]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the driver does for its search

import argparse
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import median, table

from hpcsearch.problem import HpProblem
from hpcsearch.search import create
from hpcsearch.search.asktell import Search
from hpcsearch.search.server import SWITCH_S

#: Models that the CPU time for each evaluation is taken over.
_MODELS = 6


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


def asks_ms(search: Search, size: int, repeats: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of asks, each after the results of the one before, and with the background at rest."""
    found = []
    asked = search.ask(size)
    for _ in range(repeats):
        search.tell([(configuration, worth(configuration)) for configuration in asked])
        wait(search)
        milliseconds, asked = timed_ms(lambda: search.ask(size), clock)
        found.append(milliseconds)
        wait(search)
    return found


def cycle_ms(search: Search, repeats: int) -> float:
    """CPU milliseconds of a tell and an ask, with all that the background does for them."""

    def cycles() -> None:
        for _ in range(repeats):
            search.tell([(configuration, worth(configuration)) for configuration in search.ask(1)])
            wait(search)

    return timed_ms(cycles, time.process_time)[0] / repeats


def busy_asks_ms(search: Search, repeats: int) -> list[float]:
    """Milliseconds of asks of one while models are fitted without a pause in another thread."""
    strategy, done = search.strategy, threading.Event()

    def fit() -> None:
        while not done.is_set():
            strategy.refit(strategy.thread_random())  # type: ignore[attr-defined]

    wait(search)
    fitting = threading.Thread(target=fit)
    fitting.start()
    found = []
    for _ in range(repeats):
        time.sleep(0.003)
        milliseconds, _ = timed_ms(lambda: search.ask(1))
        found.append(milliseconds)
    done.set()
    fitting.join()
    wait(search)
    return found


def product_ms() -> float:
    """CPU milliseconds of a product of two matrices of 600 by 600: how fast this core is."""
    matrix = np.random.default_rng(0).random((600, 600))
    return median([timed_ms(lambda: matrix @ matrix, time.thread_time)[0] for _ in range(20)])


def sizes(text: str) -> list[int]:
    """Whole numbers with commas between."""
    return [int(size) for size in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=sizes, default="100,1000,5000,10000")
    parser.add_argument("--dimensions", type=int, default=10)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    lines, products = [], []
    for n in chosen.sizes:
        problem = space(chosen.dimensions)
        cells: list[object] = [n]
        products.append(product_ms())
        for background, clock in ((False, time.thread_time), (True, time.perf_counter)):
            for size in (1, 64):
                found = asks_ms(grown(problem, n, chosen.workers, background), size, chosen.repeats, clock)
                cells.append(f"{median(found):.1f} ({max(found):.1f})")
        found = busy_asks_ms(grown(problem, n, chosen.workers, True), chosen.repeats)
        cells.append(f"{median(found):.1f} ({max(found):.1f})")
        search = grown(problem, n, chosen.workers, True)
        cells.append(f"{cycle_ms(search, max(40, _MODELS * n // 100)):.2f}")
        lines.append(cells)
    table(
        f"milliseconds, {chosen.dimensions} hyperparameters, {chosen.workers} pending: median (slowest)",
        ["n", "ask 1", "ask 64", "background: ask 1", "ask 64", "ask 1 while fitting", "CPU for each"],
        lines,
    )

    print(f"A product of two matrices of 600 by 600 takes this core {median(products):.1f} ms.")


if __name__ == "__main__":
    main()
