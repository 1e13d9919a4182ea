"""Real tuning problems on continuous and conditional spaces: every evaluation trains on one of scikit-learn's datasets.

The least error is the least that long searches by several strategies have found, kept in the temporary folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ConfigSpace as cs
import numpy as np

from hpcsearch.problem import HpProblem
from hpcsearch.search import create

FOLDER = Path(tempfile.gettempdir()) / "hpcsearch-benchmark-tables"

#: The long searches for the least error: strategies and seeds, each with so many evaluations.
_SEARCHES = (("random", 12345), ("de", 12345), ("ambs", 1), ("ambs", 2), ("ambs", 3))
_LONG = 1500


@cache
def data(name: str, rows: int) -> tuple[Any, Any, Any, Any]:
    """Training and validation data of a dataset."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, name)(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    return tuple(train_test_split(x[chosen], y[chosen], test_size=0.4, random_state=0))


def scale(how: str, train: Any, test: Any) -> tuple[Any, Any]:
    """Both scaled as is right for the training data."""
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

    if how == "none":
        return train, test
    scaler = {"standard": StandardScaler, "range": MinMaxScaler, "norm": Normalizer}[how]().fit(train)
    return scaler.transform(train), scaler.transform(test)


def kernel_space() -> HpProblem:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((1e-3, 1e4, "log-uniform"), "c")
    kernel = problem.add_hyperparameter(["rbf", "poly", "sigmoid", "linear"], "kernel")
    gamma = problem.add_hyperparameter((1e-6, 1e1, "log-uniform"), "gamma")
    degree = problem.add_hyperparameter((2, 5), "degree")
    shift = problem.add_hyperparameter((0.0, 2.0), "shift")
    problem.add_hyperparameter(["none", "standard", "range", "norm"], "scaled")
    problem.add_condition(cs.InCondition(gamma, kernel, ["rbf", "poly", "sigmoid"]))
    problem.add_condition(cs.EqualsCondition(degree, kernel, "poly"))
    problem.add_condition(cs.InCondition(shift, kernel, ["poly", "sigmoid"]))
    return problem


def kernel_error(c: Mapping[str, Any]) -> float:
    """Log loss of a support vector machine's margins on the breast cancer data."""
    from sklearn.svm import SVC

    train, test, labels, truth = data("load_breast_cancer", 300)
    train, test = scale(c["scaled"], train, test)
    machine = SVC(
        C=c["c"], kernel=c["kernel"], gamma=c.get("gamma", 1.0), degree=c.get("degree", 3), coef0=c.get("shift", 0.0),
        max_iter=2000,
    ).fit(train, labels)  # fmt: skip
    margins = np.clip(machine.decision_function(test) * np.where(truth == 1, 1.0, -1.0), -20, 20)
    return float(np.mean(np.log1p(np.exp(-margins))))


def neighbour_space() -> HpProblem:
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((1, 40, "log-uniform"), "neighbours")
    problem.add_hyperparameter((2, 60), "components")
    problem.add_hyperparameter(["none", "standard", "range", "norm"], "scaled")
    problem.add_hyperparameter((0.0, 6.0), "sharpness")
    problem.add_hyperparameter((1e-4, 1.0, "log-uniform"), "smoothing")
    problem.add_hyperparameter((0.0, 1.0), "whitening")
    return problem


def neighbour_error(c: Mapping[str, Any]) -> float:
    """Log loss of weighted nearest neighbours on principal components of the digits."""
    train, test, labels, truth = data("load_digits", 400)
    train, test = scale(c["scaled"], train, test)
    mean = train.mean(axis=0)
    _, singular, axes = np.linalg.svd(train - mean, full_matrices=False)
    axes = axes[: c["components"]] / (singular[: c["components"], None] + 1e-9) ** c["whitening"]
    a, b = (test - mean) @ axes.T, (train - mean) @ axes.T
    squares = np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T, 0.0)
    near = np.argsort(squares, axis=1)[:, : c["neighbours"]]
    distance = np.sqrt(np.take_along_axis(squares, near, axis=1))
    weight = (distance / (distance.mean() + 1e-12) + 1e-3) ** -c["sharpness"]
    votes = np.stack([(weight * (labels[near] == label)).sum(axis=1) for label in range(10)], axis=1)
    shares = (votes / votes.sum(axis=1, keepdims=True) + c["smoothing"]) / (1 + 10 * c["smoothing"])
    return float(-np.log(shares[np.arange(len(truth)), truth]).mean())


def least(name: str, problem: HpProblem, value: Callable[[Mapping[str, Any]], float]) -> float:
    """The least error that long searches find, made once."""
    path = FOLDER / f"{name}-least.json"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        print(f"long searches of {name}", file=sys.stderr)
        path.write_text(json.dumps(_long_searches(problem, value)))
    return float(json.loads(path.read_text()))


def _long_searches(problem: HpProblem, value: Callable[[Mapping[str, Any]], float]) -> float:
    found = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, seed in _SEARCHES:
            search = create(name, problem, seed=seed)
            for _ in range(_LONG // 10):
                asked = [(configuration, value(configuration)) for configuration in search.ask(10)]
                search.tell(asked)
                found = min(found, *(error for _, error in asked))
    return float(found)
