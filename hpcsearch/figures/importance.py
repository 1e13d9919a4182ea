"""How much the objective depends on each hyperparameter.

Permutation importance (Breiman, Random Forests, Machine Learning 45, 2001) of a random forest, taken on evaluations
that the forest has not seen: how much of its accuracy is lost when one hyperparameter's values are shuffled among them.
The forest learns the ranks of the objectives, so that a few that diverged do not decide alone. It knows the
configurations that the search has tried, no others: what the search settled early looks less important than it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcsearch.figures.axes import Axis, axes
from hpcsearch.figures.study import Indices, Study

#: Fewer evaluations than this tell nothing of importance.
LEAST = 20

#: More than these are not needed for a forest, and take long.
_MOST = 4000

_TREES, _REPEATS = 60, 4

#: Few evaluations are divided into more parts, so that each forest has seen most of them.
_FEW, _FOLDS_OF_FEW, _FOLDS = 500, 5, 2

METHOD = (
    "Permutation importance (Breiman 2001) of a random forest on the ranks of the objectives, measured on evaluations "
    "that the forest has not seen: the loss of accuracy (R²) when a hyperparameter's values are shuffled."
)


@dataclass(frozen=True)
class Importance:
    """``names`` with their ``losses`` of R² and the ``spreads`` of these, the most important first.

    ``accuracy`` is the R² that the forest has where nothing is shuffled; where it is low, the figure tells little.
    """

    names: tuple[str, ...]
    losses: tuple[float, ...]
    spreads: tuple[float, ...]
    accuracy: float
    note: str


def importance(study: Study) -> Importance | str:
    """The data of the figure, or a sentence that says why there is none."""
    finished = study.ranked
    known = axes(study)
    if len(finished) < LEAST:
        return f"Importance needs {LEAST} finished evaluations; there are {len(finished)}."
    if not known or len(np.unique(study.objective[finished])) < 2:
        return "Importance needs hyperparameters and objectives that differ."
    used = finished
    if len(used) > _MOST:
        used = np.sort(np.random.default_rng(0).choice(used, _MOST, replace=False))
    scores, accuracies = _cross_fitted(study, known, used)
    losses, spreads = scores.mean(axis=1), scores.std(axis=1)
    order = np.argsort(-losses, kind="stable")
    drawn = f" {len(used):,} of {len(finished):,} finished evaluations were drawn." if len(used) < len(finished) else ""
    return Importance(
        tuple(known[index].name for index in order),
        tuple(float(losses[index]) for index in order),
        tuple(float(spreads[index]) for index in order),
        float(np.mean(accuracies)),
        f"{METHOD}{drawn}",
    )


def _cross_fitted(study: Study, known: list[Axis], used: Indices) -> tuple[np.ndarray[Any, Any], list[float]]:
    """Losses (hyperparameter x repeat) on the part that each of the forests has not seen, and the forests' R²."""
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    points = np.column_stack([one.positions[used] for one in known])
    ranks = np.argsort(np.argsort(study.objective[used], kind="stable")) / len(used)
    scores, accuracies = [], []
    folds = _FOLDS_OF_FEW if len(used) < _FEW else _FOLDS
    for seen, unseen in KFold(folds, shuffle=True, random_state=0).split(points):
        forest = _forest(known).fit(points[seen], ranks[seen])
        accuracies.append(forest.score(points[unseen], ranks[unseen]))
        found = permutation_importance(forest, points[unseen], ranks[unseen], n_repeats=_REPEATS, random_state=0)
        scores.append(found.importances)
    return np.concatenate(scores, axis=1), accuracies


def _forest(known: list[Axis]) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    categorical = [place for place, one in enumerate(known) if one.categories]
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("categories", encode, categorical)], remainder="passthrough")
    return make_pipeline(columns, RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0))
