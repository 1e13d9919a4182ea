"""Finding nodes that fail whatever is run on them: left alone, one such node would eat the budget of a whole search."""

from __future__ import annotations

from collections import defaultdict

from hpcsearch.evaluation import State

#: A node is set aside after so many failures in a row, with nothing finished between them ...
FAILURES_IN_A_ROW = 6
#: ... while on the other nodes at least so many evaluations finished, and no more than this share failed.
FINISHED_ELSEWHERE = 6
TOLERATED_SHARE = 0.5


class Quarantine:
    """Watches how evaluations end on each node."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = defaultdict(int)
        self._failed: dict[str, int] = defaultdict(int)
        self._finished: dict[str, int] = defaultdict(int)

    def suspects(self, node: str, state: State) -> bool:
        """Takes how an evaluation ended, and tells whether its node is to be set aside for it."""
        if state is State.FINISHED:
            self._finished[node] += 1
            self._in_a_row[node] = 0
        elif state is State.FAILED:
            self._failed[node] += 1
            self._in_a_row[node] += 1
        return self._in_a_row[node] >= FAILURES_IN_A_ROW and self._fine_elsewhere(node)

    def _fine_elsewhere(self, node: str) -> bool:
        finished = sum(count for name, count in self._finished.items() if name != node)
        failed = sum(count for name, count in self._failed.items() if name != node)
        return finished >= FINISHED_ELSEWHERE and failed <= TOLERATED_SHARE * (failed + finished)
