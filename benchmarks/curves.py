"""Learning curves of real models, epoch by epoch, on a grid of configurations; made once, kept in the temporary folder.

python benchmarks/curves.py [NAME ...]
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tables import FOLDER

EPOCHS = 54


@dataclass(frozen=True)
class Curve:
    """Scores on held-out rows after each epoch (greater is better), and how long one epoch takes on average."""

    scores: tuple[float, ...]
    epoch_s: float


@dataclass(frozen=True)
class Curves:
    """Curves by the values of all hyperparameters, in the order of ``values``."""

    values: Mapping[str, Sequence[Any]]
    of: Mapping[tuple[Any, ...], Curve]

    @property
    def best(self) -> float:
        """The best that any configuration comes to at its end."""
        return max(curve.scores[-1] for curve in self.of.values())


Data = tuple[Any, Any, Any, Any]


@dataclass(frozen=True)
class Recipe:
    """Rows to train and to test with, values of the hyperparameters, and the model for them, which learns by epochs."""

    data: Callable[[], Data]
    values: Mapping[str, Sequence[Any]]
    model: Callable[..., Any]


def _split(x: Any, y: Any, train: int, test: int) -> Data:
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    rows, held, targets, truth = train_test_split(x, y, train_size=train, test_size=test, random_state=0)
    scaler = StandardScaler().fit(rows)
    return scaler.transform(rows), scaler.transform(held), targets, truth


def _digits() -> Data:
    """Handwritten digits, few of them and a fifth with a wrong label."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rows, held, targets, truth = _split(x, y, 300, 500)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(targets)) < 0.2
    return rows, held, np.where(wrong, rng.integers(0, 10, len(targets)), targets), truth


def _classes() -> Data:
    """Many classes of several clusters each, among features that say nothing."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        1600, 24, n_informative=8, n_redundant=4, n_classes=8, n_clusters_per_class=3, class_sep=1.0, random_state=1
    )
    return _split(x, y, 600, 600)


def _friedman() -> Data:
    """Friedman's function of five of ten features."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(1200, 10, noise=1.0, random_state=3)
    return _split(x, (y - y.mean()) / y.std(), 400, 800)


def _network(regression: bool) -> Callable[..., Any]:
    def make(units: int, lr: float, alpha: float, batch: int, solver: str) -> Any:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        kind = MLPRegressor if regression else MLPClassifier
        return kind(
            hidden_layer_sizes=(units,),
            learning_rate_init=lr,
            alpha=alpha,
            batch_size=batch,
            solver=solver,
            random_state=0,
        )

    return make


def _linear(regression: bool) -> Callable[..., Any]:
    def make(features: int, gamma: float, alpha: float, eta: float, average: bool) -> Any:
        from sklearn.kernel_approximation import RBFSampler
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        kind = SGDRegressor if regression else SGDClassifier
        model = kind(alpha=alpha, learning_rate="constant", eta0=eta, average=average, random_state=0)
        return _OnFeatures(RBFSampler(gamma=gamma, n_components=features, random_state=0), model)

    return make


class _OnFeatures:
    """A linear model on random features."""

    def __init__(self, features: Any, model: Any) -> None:
        self._features, self._model = features, model
        self._known: dict[int, Any] = {}

    def _of(self, rows: Any) -> Any:
        if id(rows) not in self._known:
            made = self._features.transform(rows) if self._known else self._features.fit_transform(rows)
            self._known[id(rows)] = made * np.sqrt(self._features.n_components)
        return self._known[id(rows)]

    def partial_fit(self, rows: Any, targets: Any, **classes: Any) -> None:
        self._model.partial_fit(self._of(rows), targets, **classes)

    def score(self, rows: Any, truth: Any) -> float:
        return float(self._model.score(self._of(rows), truth))


_NETWORKS: Mapping[str, Sequence[Any]] = {
    "units": (4, 16, 64),
    "lr": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "alpha": (1e-5, 1e-2, 1e-1, 1.0),
    "batch": (16, 64),
    "solver": ("adam", "sgd"),
}
_KERNELS: Mapping[str, Sequence[Any]] = {
    "features": (32, 160),
    "gamma": (1e-4, 1e-3, 1e-2, 3e-2, 1e-1),
    "alpha": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
    "eta": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    "average": (False, True),
}

RECIPES: Mapping[str, Recipe] = {
    "network on digits": Recipe(_digits, _NETWORKS, _network(False)),
    "network on classes": Recipe(_classes, _NETWORKS, _network(False)),
    "network on friedman": Recipe(_friedman, _NETWORKS, _network(True)),
    "kernel on digits": Recipe(_digits, _KERNELS, _linear(False)),
    "kernel on classes": Recipe(_classes, _KERNELS, _linear(False)),
    "kernel on friedman": Recipe(_friedman, _KERNELS, _linear(True)),
}


def _train(recipe: Recipe, data: Data, choice: tuple[Any, ...]) -> Curve:
    rows, held, targets, truth = data
    model = recipe.model(**dict(zip(recipe.values, choice, strict=True)))
    classes = {"classes": np.unique(targets)} if targets.dtype.kind == "i" else {}
    scores: list[float] = []
    began_s = time.process_time()
    for _ in range(EPOCHS):
        try:
            model.partial_fit(rows, targets, **classes)
            score = float(model.score(held, truth))
        except ValueError:  # it diverged: the weights are infinite
            score = -1.0
        scores.append(max(-1.0, score) if np.isfinite(score) else -1.0)
    return Curve(tuple(scores), (time.process_time() - began_s) / EPOCHS)


@cache
def curves(name: str) -> Curves:
    """The curves of that name; they are computed when they have not been before."""
    recipe = RECIPES[name]
    file = FOLDER / f"curves-{name.replace(' ', '_')}.json"
    choices = list(itertools.product(*recipe.values.values()))
    if not file.exists():
        data = recipe.data()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = [_train(recipe, data, choice) for choice in choices]
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps([[one.scores, one.epoch_s] for one in made]))
    stored = [Curve(tuple(scores), epoch_s) for scores, epoch_s in json.loads(file.read_text())]
    return Curves(recipe.values, dict(zip(choices, stored, strict=True)))


def main() -> None:
    for name in sys.argv[1:] or RECIPES:
        began_s = time.monotonic()
        found = curves(name)
        ends = np.array([curve.scores[-1] for curve in found.of.values()])
        reach = float(np.mean(ends >= 0.95 * found.best))
        epoch_ms = 1e3 * float(np.mean([one.epoch_s for one in found.of.values()]))
        print(
            f"{name}: {len(ends)} configurations, median {np.median(ends):.3f}, best {found.best:.3f}; "
            f"{reach:.1%} come to 95% of that; {epoch_ms:.1f} ms an epoch "
            f"({time.monotonic() - began_s:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
