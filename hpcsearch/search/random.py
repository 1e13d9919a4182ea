"""Random search: every hyperparameter drawn by its own distribution, independent of all results."""

from __future__ import annotations

from collections.abc import Sequence

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Objectives, Outcome, Setting

_BLOCK = 256


class RandomSearch:
    """Draws blocks ahead: single asks cost as little as large ones, and the sequence does not depend on their sizes."""

    objectives: Objectives = "any"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._ready: list[Configuration] = []

    def ask(self, n: int) -> Sequence[Configuration]:
        while len(self._ready) < n:
            encoding = self._setting.encoding
            self._ready += encoding.decode(encoding.draw(_BLOCK, self._setting.random))
        taken, self._ready = self._ready[:n], self._ready[n:]
        return taken

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """Nothing to remember."""

    def tell(self, results: Sequence[Outcome]) -> None:
        """Nothing to learn."""
