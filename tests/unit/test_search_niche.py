"""Places away from the best known configuration."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import ConfigSpace as cs
import numpy as np
import pytest

from hpcsearch.problem import HpProblem
from hpcsearch.search.encoding import Encoding
from hpcsearch.search.history import Data
from hpcsearch.search.model import Learned, Learner
from hpcsearch.search.niche import draw_niche


def methods() -> Encoding:
    problem = HpProblem()
    method = problem.add_hyperparameter(["forest", "kernel"], "method")
    problem.add_hyperparameter((0.0, 1.0), "shared")
    for name in ("depth", "leaves", "share"):
        problem.add_condition(cs.EqualsCondition(problem.add_hyperparameter((0.0, 1.0), name), method, "forest"))
    return Encoding(problem.space)


def learned_of(encoding: Encoding) -> Learned:
    """A kernel at 0.5 is the best, a forest at 0.2 the best of forests."""
    rng = np.random.default_rng(0)
    rows = encoding.draw(40, rng)
    forest, shared = (
        next(i for i, c in enumerate(encoding.columns) if c.name == name) for name in ("method", "shared")
    )
    kernels = np.isnan(rows).any(axis=1)
    assert kernels.any() and not kernels.all() and len(np.unique(rows[:, forest])) == 2
    objectives = -np.abs(rows[:, shared] - np.where(kernels, 0.5, 0.2)) - np.where(kernels, 0.0, 0.5)
    return Learner(encoding, 100).learn(Data(rows, objectives, 40), rng)


def test_where_others_depend_on_what_differs_the_best_there_is_sought() -> None:
    encoding = methods()
    learned, rng = learned_of(encoding), np.random.default_rng(1)
    rows = encoding.draw(200, rng)
    for _ in range(20):
        niche = draw_niche(encoding, learned, rng)
        assert niche is not None
        inside = niche.holds(encoding, rows)
        assert 0 < inside.sum() < len(rows)
        assert not niche.holds(encoding, niche.best).any()
        if encoding.columns[niche.column].name == "method":
            assert np.isnan(niche.best).any() and not np.isnan(niche.found).any(), "kernels are best; away are forests"
            assert niche.holds(encoding, niche.found).all() and niche.worth < learned.worth[0]
            assert (inside == ~np.isnan(rows).any(axis=1)).all()
        else:
            assert len(niche.found) == 0 and niche.worth == learned.worth[0]


def test_what_others_depend_on_is_drawn_more_often() -> None:
    encoding = methods()
    learned, rng = learned_of(encoding), np.random.default_rng(0)
    drawn = [draw_niche(encoding, learned, rng) for _ in range(500)]
    names = Counter(encoding.columns[niche.column].name for niche in drawn if niche is not None)
    assert set(names) == {"method", "shared"}, "the best configuration is a kernel, which has nothing else"
    assert names["method"] / 500 == pytest.approx(0.8, abs=0.06)


def test_where_nothing_is_known_the_best_of_all_counts() -> None:
    encoding = methods()
    learned = learned_of(encoding)
    only = replace(learned, best=learned.best[:1], worth=learned.worth[:1])
    niche = draw_niche(encoding, only, np.random.default_rng(0))
    assert niche is not None and len(niche.found) == 0 and niche.worth == learned.worth[0]
    nothing = replace(learned, best=learned.best[:0], worth=learned.worth[:0])
    assert draw_niche(encoding, nothing, np.random.default_rng(0)) is None
