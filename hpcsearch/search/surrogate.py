"""What a model of the objective offers a model-based strategy, whatever it is made of.

:mod:`hpcsearch.search.forest` is one; a Gaussian process would be another file with the same two classes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hpcsearch.search.columns import Array


class Prediction(Protocol):
    """What the model says of a set of candidates."""

    @property
    def mean(self) -> Array:
        """The expected objective, on the scale that the model was fitted on."""

    @property
    def spread(self) -> Array:
        """The standard deviation that will be left once the results of all that is pending are there."""

    def place(self, candidate: int) -> None:
        """Counts a candidate as pending from now on; ``spread`` shrinks around it."""


class Surrogate(Protocol):
    """A model that has been fitted; not changed afterwards, so that threads may share it."""

    def predict(self, features: Array, pending: Array) -> Prediction:
        """Predicts candidates, with the rows of ``pending`` (features too) under way."""


class Fit(Protocol):
    """Fits a model to features, shape (n, features), and finite objectives, greater being better."""

    def __call__(self, features: Array, objectives: Array, rng: np.random.Generator) -> Surrogate: ...
