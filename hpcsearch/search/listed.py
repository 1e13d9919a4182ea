"""The starting points and nothing else, in their order: what somebody has listed is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Objectives, Outcome, Setting


class ListSearch:
    """Suggests nothing of its own: the search around it has the starting points."""

    objectives: Objectives = "any"
    exhausted = True

    def __init__(self, setting: Setting) -> None:
        self.size = float(len(setting.problem.starting_points))

    def ask(self, n: int) -> Sequence[Configuration]:
        return ()

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """Nothing to remember."""

    def tell(self, results: Sequence[Outcome]) -> None:
        """Nothing to learn."""
