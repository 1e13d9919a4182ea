"""Tables of real cross-validated errors, from scikit-learn's own datasets; made once and kept in the temporary folder.

python benchmarks/tables.py [NAME ...]
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(tempfile.gettempdir()) / "hpcsearch-benchmark-tables"


@dataclass(frozen=True)
class Table:
    """Errors by the values of all hyperparameters, in the order of ``values``."""

    values: Mapping[str, Sequence[Any]]
    errors: Mapping[tuple[Any, ...], float]


@dataclass(frozen=True)
class Recipe:
    """A dataset's name, values of the hyperparameters, the estimator for them, the score and at most so many rows."""

    data: str
    values: Mapping[str, Sequence[Any]]
    estimator: Callable[..., Any]
    score: str = "accuracy"
    rows: int = 400


def _svm(c: float, gamma: float, kernel: str, scaled: str) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
    from sklearn.svm import SVR

    scalers = {"standard": StandardScaler, "range": MinMaxScaler, "norm": Normalizer}
    return make_pipeline(scalers[scaled](), SVR(C=c, gamma=gamma, kernel=kernel, max_iter=2000))


def _tree(depth: int, leaf: int, split: int, share: float, criterion: str, pruning: float) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(
        max_depth=depth, min_samples_leaf=leaf, min_samples_split=split, max_features=share, criterion=criterion,
        ccp_alpha=pruning, random_state=0,
    )  # fmt: skip


def _sgd(loss: str, penalty: str, alpha: float, schedule: str, eta: float) -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        loss=loss, penalty=penalty, alpha=alpha, learning_rate=schedule, eta0=eta, max_iter=8, tol=None, random_state=0
    )


def _network(units: int, alpha: float, lr: float, activation: str, batch: int) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        (units,),
        activation=activation,
        alpha=alpha,
        learning_rate_init=lr,
        batch_size=batch,
        max_iter=12,
        random_state=0,
    )
    return make_pipeline(StandardScaler(), network)


_POWERS = [10.0**power for power in range(-4, 4)]

RECIPES: Mapping[str, Recipe] = {
    "svm_diabetes": Recipe(
        "load_diabetes",
        {"c": [10.0**power for power in range(-3, 5)], "gamma": [10.0**power for power in range(-5, 3)],
         "kernel": ["linear", "poly", "rbf", "sigmoid"], "scaled": ["standard", "range", "norm"]},
        _svm, score="r2", rows=200,
    ),
    "tree_diabetes": Recipe(
        "load_diabetes",
        {"depth": [1, 2, 3, 4, 5, 6, 8, 10, 15], "leaf": [1, 2, 4, 8, 12, 20, 40], "split": [2, 10, 40],
         "share": [0.2, 0.4, 0.7, 1.0], "criterion": ["squared_error", "friedman_mse"], "pruning": [0.0, 20.0, 100.0]},
        _tree, score="r2",
    ),
    "sgd_digits": Recipe(
        "load_digits",
        {"loss": ["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"],
         "penalty": ["l2", "l1", "elasticnet"], "alpha": [10.0**power for power in range(-7, 1)],
         "schedule": ["constant", "optimal", "invscaling", "adaptive"], "eta": [1e-4, 1e-3, 1e-2, 0.1, 1.0]},
        _sgd, rows=300,
    ),
    "network_wine": Recipe(
        "load_wine",
        {"units": [2, 4, 8, 16, 32, 64], "alpha": [1e-5, 1e-3, 1e-1, 1.0, 10.0],
         "lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1],
         "activation": ["relu", "tanh", "logistic", "identity"], "batch": [8, 64]},
        _network, score="neg_log_loss",
    ),
}  # fmt: skip


@cache
def load(name: str) -> Table:
    """Reads a table, making it first if need be."""
    path, recipe = FOLDER / f"{name}.json", RECIPES[name]
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        print(f"making table {name}", file=sys.stderr)
        path.write_text(json.dumps(_make(recipe)))
    combinations = itertools.product(*recipe.values.values())
    return Table(recipe.values, dict(zip(combinations, json.loads(path.read_text()), strict=True)))


def _make(recipe: Recipe) -> list[float]:
    from sklearn import datasets
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

    x, y = getattr(datasets, recipe.data)(return_X_y=True)
    folds = (KFold if recipe.score == "r2" else StratifiedKFold)(3, shuffle=True, random_state=0)
    kept = next(iter(folds.split(x, y)))[0][: recipe.rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            1.0
            - float(cross_val_score(recipe.estimator(*values), x[kept], y[kept], cv=folds, scoring=recipe.score).mean())
            for values in itertools.product(*recipe.values.values())
        ]


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RECIPES:
        load(wanted)
