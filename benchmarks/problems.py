"""Problems that searches are compared on: spaces, objectives to be minimised, and the least that each can reach.

``PUBLIC`` is for development. ``APART`` has other functions of the same kinds; it is for a judgement at the end, and
nothing is to be tuned on it. Functions are shifted anew for each seed, so that no search gains by liking the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ConfigSpace as cs
import learning
import numpy as np
import tables

from hpcsearch.problem import HpProblem

Configuration = Mapping[str, Any]
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Task:
    """A problem to be minimised.

    Attributes:
        problem: its space.
        value: the true objective of a configuration, None where the evaluation fails.
        least: the least value there is.
        noise: standard deviation of what is added to a value that a search is told.
    """

    problem: HpProblem
    value: Callable[[Configuration], float | None]
    least: float = 0.0
    noise: float = 0.0


def cube(dimensions: int, lower: float = 0.0, upper: float = 1.0) -> HpProblem:
    """A space of floats x0, x1, ... on the same range."""
    problem = HpProblem(minimize=True)
    for index in range(dimensions):
        problem.add_hyperparameter((float(lower), float(upper)), f"x{index}")
    return problem


def point(configuration: Configuration, dimensions: int) -> Array:
    """x0, x1, ... as an array."""
    return np.array([configuration[f"x{index}"] for index in range(dimensions)])


def of_point(dimensions: int, function: Callable[[Array], float], lower: float = 0.0, upper: float = 1.0) -> Task:
    """A function of floats on one range whose least value is 0."""
    return Task(cube(dimensions, lower, upper), lambda c: float(function(point(c, dimensions))))


# --- the public suite -------------------------------------------------------------------------------------------------

_H6_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_H6_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_H6_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(rng: np.random.Generator) -> Task:
    order = rng.permutation(6)

    def function(x: Array) -> float:
        squares = (_H6_A * (x[order] - _H6_P) ** 2).sum(axis=1)
        return 3.32236801 - float(_H6_WEIGHTS @ np.exp(-squares))

    return of_point(6, function)


def branin(rng: np.random.Generator) -> Task:
    def function(x: Array) -> float:
        a, b = 15 * x[0] - 5, 15 * x[1]
        ridge = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
        return ridge**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.39788736

    return of_point(2, function)


def ackley5(rng: np.random.Generator) -> Task:
    shift = rng.uniform(-20, 20, 5)

    def function(x: Array) -> float:
        z = x - shift
        bowl = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(z**2))))
        return bowl - math.exp(float(np.mean(np.cos(2 * math.pi * z)))) + 20 + math.e

    return of_point(5, function, -32.768, 32.768)


def rastrigin4(rng: np.random.Generator) -> Task:
    shift = rng.uniform(-3, 3, 4)
    return of_point(
        4, lambda x: float(np.sum((x - shift) ** 2 + 10 - 10 * np.cos(2 * math.pi * (x - shift)))), -5.12, 5.12
    )


def sphere10(rng: np.random.Generator) -> Task:
    shift, weights = rng.uniform(0.1, 0.9, 10), 10 ** rng.uniform(-1.5, 0, 10)
    return of_point(10, lambda x: float(weights @ (x - shift) ** 2))


def mixed(rng: np.random.Generator) -> Task:
    problem = cube(3)
    problem.add_hyperparameter((1, 30), "n")
    problem.add_hyperparameter((1, 512, "log-uniform"), "width")
    problem.add_hyperparameter(["a", "b", "c", "d"], "kind")
    problem.add_hyperparameter(["on", "off"], "flag")
    shifts = {kind: rng.uniform(0.15, 0.85, 3) for kind in "abcd"}
    base = dict(zip("abcd", rng.permutation([0.0, 0.1, 0.25, 0.4]), strict=True))
    n_best, width_best, flag_best = int(rng.integers(5, 25)), 2 ** rng.uniform(2, 8), str(rng.choice(["on", "off"]))

    def value(c: Configuration) -> float:
        z = point(c, 3) - shifts[c["kind"]]
        waves = 0.05 * float(np.sum(1 - np.cos(6 * math.pi * z)))
        size = abs(c["n"] - n_best) / 30 + (math.log(c["width"] / width_best) / 4) ** 2
        return base[c["kind"]] + 2 * float(z @ z) + waves + size + (0.0 if c["flag"] == flag_best else 0.3)

    return Task(problem, value, (math.log(_nearest(width_best) / width_best) / 4) ** 2)


def _nearest(value: float) -> float:
    return min((math.floor(value), math.ceil(value)), key=lambda whole: abs(math.log(whole / value)))


def log_scaled(rng: np.random.Generator) -> Task:
    """A training curve's look: steep walls that diverge, a valley that couples rate and batch."""
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((1e-6, 1.0, "log-uniform"), "lr")
    problem.add_hyperparameter((1e-8, 1e-1, "log-uniform"), "decay")
    problem.add_hyperparameter((8, 1024, "log-uniform"), "batch")
    problem.add_hyperparameter((0.5, 0.999), "momentum")
    lr, decay, momentum = rng.uniform(-4.5, -2), rng.uniform(-6.5, -3), rng.uniform(0.7, 0.95)

    def value(c: Configuration) -> float:
        valley = (
            math.log10(c["lr"])
            - lr
            - 0.5 * math.log10(c["batch"] / 64)
            - math.log10((1 - momentum) / (1 - c["momentum"]))
        )
        wall = math.expm1(min(4 * valley, 12.0)) if valley > 0 else valley**2
        return wall + 0.2 * (math.log10(c["decay"]) - decay) ** 2 + 0.05 * abs(math.log2(c["batch"] / 64))

    return Task(problem, value)


def conditional(rng: np.random.Generator) -> Task:
    """Three methods with parameters of their own."""
    problem = HpProblem(minimize=True)
    method = problem.add_hyperparameter(["forest", "kernel", "linear"], "method")
    problem.add_hyperparameter((0.0, 1.0), "shared")
    own = {"forest": ["depth", "leaves", "share"], "kernel": ["gamma", "c"], "linear": ["l1"]}
    for name, children in own.items():
        for child in children:
            space = (1, 20) if child == "depth" else (1e-4, 1e2, "log-uniform") if name == "kernel" else (0.0, 1.0)
            problem.add_condition(cs.EqualsCondition(problem.add_hyperparameter(space, child), method, name))
    base = dict(zip(own, rng.permutation([0.0, 0.15, 0.35]), strict=True))
    best, shared = (
        {child: rng.uniform(0.15, 0.85) for children in own.values() for child in children},
        rng.uniform(0.2, 0.8),
    )

    def unit(name: str, value: float) -> float:
        if name == "depth":
            return (value - 1) / 19
        return (math.log10(value) + 4) / 6 if name in own["kernel"] else value

    best["depth"] = (round(best["depth"] * 19)) / 19

    def value(c: Configuration) -> float:
        gaps = [unit(name, c[name]) - best[name] for name in own[c["method"]]]
        return (
            base[c["method"]]
            + sum(3 * gap**2 + 0.1 * (1 - math.cos(9 * gap)) for gap in gaps)
            + (c["shared"] - shared) ** 2
        )

    return Task(problem, value)


def noisy(rng: np.random.Generator) -> Task:
    task = hartmann6(rng)
    return Task(task.problem, task.value, 0.0, noise=0.15)


def failing(rng: np.random.Generator) -> Task:
    """The objective falls towards a border beyond which everything fails; some fail anywhere inside a ball."""
    normal, hole = rng.dirichlet(np.ones(4)), rng.uniform(0.2, 0.6, 4)

    def value(c: Configuration) -> float | None:
        x = point(c, 4)
        if float(normal @ x) > 0.6 or float(np.sum((x - hole) ** 2)) < 0.04:
            return None
        return 0.6 - float(normal @ x) + 0.3 * float(np.sum((x - x.mean()) ** 2))

    return Task(cube(4), value)


def categorical(rng: np.random.Generator) -> Task:
    """Ten choices of five; neighbours in a ring act together."""
    problem, count, size = HpProblem(minimize=True), 10, 5
    for index in range(count):
        problem.add_hyperparameter([f"v{number}" for number in range(size)], f"k{index}")
    single, pair = rng.random((count, size)), rng.random((count, size, size))

    def total(chosen: list[int]) -> float:
        return (
            sum(float(single[i, chosen[i]] + 0.7 * pair[i, chosen[i], chosen[(i + 1) % count]]) for i in range(count))
            / count
        )

    return Task(
        problem, lambda c: total([int(c[f"k{i}"][1:]) for i in range(count)]), ring_least(single, 0.7 * pair) / count
    )


def ring_least(single: Array, pair: Array) -> float:
    """The least sum over a ring of choices, by dynamic programming."""
    count, size = single.shape
    least = math.inf
    for first in range(size):
        cost = np.full(size, math.inf)
        cost[first] = single[0, first]
        for index in range(1, count):
            cost = (cost[:, None] + pair[index - 1]).min(axis=0) + single[index]
        least = min(least, float((cost + pair[count - 1][:, first]).min()))
    return least


# --- the suite kept apart ---------------------------------------------------------------------------------------------


def rosenbrock4(rng: np.random.Generator) -> Task:
    flip = rng.choice([-1.0, 1.0], 4)

    def function(x: Array) -> float:
        z = x * flip
        return float(np.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2))

    return of_point(4, function, -2.0, 2.0)


def levy6(rng: np.random.Generator) -> Task:
    shift = rng.uniform(-4, 4, 6)

    def function(x: Array) -> float:
        w = 1 + (x - shift) / 4
        middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
        last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
        return float(math.sin(math.pi * w[0]) ** 2 + middle + last)

    return of_point(6, function, -10.0, 10.0)


def griewank3(rng: np.random.Generator) -> Task:
    shift = rng.uniform(-20, 20, 3)

    def function(x: Array) -> float:
        z = x - shift
        return float(z @ z / 400 + 1 - np.prod(np.cos(z / np.sqrt(np.arange(1, 4)))))

    return of_point(3, function, -40.0, 40.0)


def styblinski5(rng: np.random.Generator) -> Task:
    flip = rng.choice([-1.0, 1.0], 5)

    def function(x: Array) -> float:
        z = x * flip
        return float(np.sum(z**4 - 16 * z**2 + 5 * z)) / 2 + 39.16616570377142 * 5

    return of_point(5, function, -5.0, 5.0)


def valley12(rng: np.random.Generator) -> Task:
    """Twelve floats of which four matter, turned against each other."""
    turn, shift = np.linalg.qr(rng.standard_normal((4, 4)))[0], rng.uniform(0.2, 0.8, 4)
    which, weights = rng.permutation(12)[:4], np.array([4.0, 2.0, 1.0, 0.5])
    return of_point(12, lambda x: float(np.sum(weights * np.abs(turn @ (x[which] - shift)) ** 1.5)))


def mixed_network(rng: np.random.Generator) -> Task:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((16, 1024, "log-uniform"), "units")
    problem.add_hyperparameter((1, 8), "layers")
    problem.add_hyperparameter((1e-5, 1e-1, "log-uniform"), "lr")
    problem.add_hyperparameter((0.0, 0.8), "dropout")
    problem.add_hyperparameter(["relu", "tanh", "elu", "gelu", "silu", "none"], "activation")
    problem.add_hyperparameter(["adam", "sgd", "rms"], "optimizer")
    problem.add_hyperparameter([16, 32, 64, 128, 256], "batch")
    worth = {
        name: float(x)
        for name, x in zip(
            ["relu", "tanh", "elu", "gelu", "silu", "none"],
            rng.permutation([0, 0.02, 0.05, 0.1, 0.2, 0.6]),
            strict=True,
        )
    }
    rate = {name: float(x) for name, x in zip(["adam", "sgd", "rms"], rng.permutation([-3.2, -1.8, -4.0]), strict=True)}
    fee = {name: float(x) for name, x in zip(["adam", "sgd", "rms"], rng.permutation([0.0, 0.05, 0.15]), strict=True)}
    capacity, dropout = float(rng.uniform(8, 12)), float(rng.uniform(0.1, 0.5))

    def value(c: Configuration) -> float:
        off = math.log10(c["lr"]) - rate[c["optimizer"]] - 0.3 * math.log2(c["batch"] / 64)
        size = (math.log2(c["units"]) + math.log2(c["layers"]) - capacity) / 3
        return (
            worth[c["activation"]] + fee[c["optimizer"]] + 1 - math.exp(-(off**2)) + 0.4 * size**2
            + abs(c["dropout"] - dropout - 0.1 * size) + 0.03 * abs(math.log2(c["batch"] / 32))
            + 0.1 * abs(math.sin(3 * off))
        )  # fmt: skip

    return Task(problem, value, 0.0)


def log_walls(rng: np.random.Generator) -> Task:
    """Objectives over many orders of magnitude, on logarithmic ranges."""
    problem = HpProblem(minimize=True)
    for index in range(5):
        problem.add_hyperparameter((1e-5, 1e5, "log-uniform"), f"x{index}")
    best = rng.uniform(-3, 3, 5)
    return Task(problem, lambda c: float(np.expm1(np.sum(np.abs(np.log10(point(c, 5)) - best) ** 1.5) / 2)))


def conditional_layers(rng: np.random.Generator) -> Task:
    """One to four layers, each with a width and a rate; what is not there counts for nothing."""
    problem = HpProblem(minimize=True)
    layers = problem.add_hyperparameter((1, 4), "layers")
    problem.add_hyperparameter(["x", "y", "z"], "kind")
    for index in range(4):
        for space, name in (((4, 256, "log-uniform"), f"width{index}"), ((0.0, 1.0), f"rate{index}")):
            made = problem.add_hyperparameter(space, name)
            if index:
                problem.add_condition(cs.GreaterThanCondition(made, layers, index))
    depth, width, rate = int(rng.integers(2, 4)), 2 ** rng.uniform(3, 7, 4), rng.uniform(0.1, 0.9, 4)
    worth = dict(zip("xyz", rng.permutation([0.0, 0.1, 0.3]), strict=True))

    def value(c: Configuration) -> float:
        total = worth[c["kind"]] + 0.3 * abs(c["layers"] - depth)
        for index in range(c["layers"]):
            total += (
                0.1 * math.log2(c[f"width{index}"] / width[index]) ** 2 / 2
                + abs(c[f"rate{index}"] - rate[index]) ** 1.5
            )
        return float(total)

    least = sum(0.1 * math.log2(_nearest(width[index]) / width[index]) ** 2 / 2 for index in range(depth))
    return Task(problem, value, least)


def noisy_steps(rng: np.random.Generator) -> Task:
    """Flat steps, and noise as large as two of them."""
    shift = rng.uniform(0.2, 0.8, 4)
    task = of_point(4, lambda x: math.floor(10 * float(np.sum(np.abs(x - shift)))) / 10)
    return Task(task.problem, task.value, 0.0, noise=0.2)


def failing_mixed(rng: np.random.Generator) -> Task:
    """Runs out of memory for large sizes, more so for one kind; diverges for large rates."""
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((8, 4096, "log-uniform"), "size")
    problem.add_hyperparameter((1, 64, "log-uniform"), "batch")
    problem.add_hyperparameter((1e-5, 1.0, "log-uniform"), "lr")
    problem.add_hyperparameter(["half", "single", "double"], "precision")
    bytes_of, penalty = {"half": 1, "single": 2, "double": 4}, {"half": 0.15, "single": 0.0, "double": 0.0}
    limit, edge, best = float(rng.uniform(12, 15)), float(rng.uniform(-2, -1)), float(rng.uniform(0.5, 1.0))

    def value(c: Configuration) -> float | None:
        memory = math.log2(c["size"]) + math.log2(c["batch"]) + math.log2(bytes_of[c["precision"]])
        if memory > limit or math.log10(c["lr"]) > edge:
            return None
        rate = edge - best - math.log10(c["lr"])
        return penalty[c["precision"]] + 0.1 * (15 - memory) + 0.2 * rate**2 + 0.05 * abs(math.log2(c["batch"]) - 3)

    return Task(problem, value, 0.1 * (15 - limit))


def landscape(rng: np.random.Generator) -> Task:
    """Twelve choices of four; each acts with two others drawn at random (an NK landscape), its least by descents."""
    problem, count, size = HpProblem(minimize=True), 12, 4
    for index in range(count):
        problem.add_hyperparameter([f"v{number}" for number in range(size)], f"k{index}")
    others = np.array([rng.choice([j for j in range(count) if j != i], 2, replace=False) for i in range(count)])
    worth = rng.random((count, size, size, size))

    def totals(chosen: Any) -> Array:
        return np.asarray(
            np.mean([worth[i, chosen[:, i], chosen[:, a], chosen[:, b]] for i, (a, b) in enumerate(others)], axis=0)
        )

    starts = rng.integers(size, size=(400, count))
    for _ in range(12):
        for index in range(count):
            tried = np.stack([np.where(np.arange(count) == index, number, starts) for number in range(size)])
            values = np.stack([totals(rows) for rows in tried])
            starts = tried[values.argmin(axis=0), np.arange(len(starts))]
    return Task(
        problem,
        lambda c: float(totals(np.array([[int(c[f"k{i}"][1:]) for i in range(count)]]))[0]),
        float(totals(starts).min()),
    )


def table(name: str) -> Callable[[np.random.Generator], Task]:
    """A table of real cross-validated errors."""

    def make(rng: np.random.Generator) -> Task:
        made = tables.load(name)
        problem = HpProblem(minimize=True)
        for column, values in made.values.items():
            problem.add_hyperparameter(list(values), column)
        return Task(
            problem, lambda c: made.errors[tuple(c[column] for column in made.values)], min(made.errors.values())
        )

    return make


def learned(name: str, space: Callable[[], HpProblem], value: Callable[[Configuration], float]) -> Any:
    """A real tuning problem; what is trained is the same for all seeds."""

    def make(rng: np.random.Generator) -> Task:
        return Task(space(), value, learning.least(name, space(), value))

    return make


Suite = Mapping[str, Callable[[np.random.Generator], Task]]

PUBLIC: Suite = {
    "hartmann6": hartmann6,
    "branin": branin,
    "ackley5": ackley5,
    "rastrigin4": rastrigin4,
    "sphere10": sphere10,
    "mixed": mixed,
    "log_scaled": log_scaled,
    "conditional": conditional,
    "noisy": noisy,
    "failing": failing,
    "categorical": categorical,
    "svm_diabetes": table("svm_diabetes"),
    "tree_diabetes": table("tree_diabetes"),
    "kernel_cancer": learned("kernel_cancer", learning.kernel_space, learning.kernel_error),
    "neighbours_digits": learned("neighbours_digits", learning.neighbour_space, learning.neighbour_error),
}

APART: Suite = {
    "rosenbrock4": rosenbrock4,
    "levy6": levy6,
    "griewank3": griewank3,
    "styblinski5": styblinski5,
    "valley12": valley12,
    "mixed_network": mixed_network,
    "log_walls": log_walls,
    "conditional_layers": conditional_layers,
    "noisy_steps": noisy_steps,
    "failing_mixed": failing_mixed,
    "landscape": landscape,
    "sgd_digits": table("sgd_digits"),
    "network_wine": table("network_wine"),
}

SUITES: Mapping[str, Suite] = {"public": PUBLIC, "apart": APART}
