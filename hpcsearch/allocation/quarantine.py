"""Finding nodes that fail whatever is run on them: left alone, one such node would eat the budget of a whole search."""

from __future__ import annotations

import enum
from collections import defaultdict

from hpcsearch.evaluation import State

#: A node is suspected after so many failures in a row, with nothing finished between them.
FAILURES_IN_A_ROW = 6
#: What so many evaluations came to on the other nodes decides: whether more than this share of them failed, too.
TOLD_ELSEWHERE = 6
TOLERATED_SHARE = 0.5


class Verdict(enum.Enum):
    """What is to be done with a node."""

    TRUSTED = enum.auto()
    WAITS = enum.auto()  # it is suspected, and the other nodes have not told enough: evaluations may take hours there
    BAD = enum.auto()


class Quarantine:
    """Watches how evaluations end on each node."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = defaultdict(int)
        self._failed: dict[str, int] = defaultdict(int)
        self._finished: dict[str, int] = defaultdict(int)

    def take(self, node: str, state: State) -> None:
        """Takes how an evaluation ended."""
        if state in (State.FINISHED, State.STOPPED):  # what was stopped early had worked until then
            self._finished[node] += 1
            self._in_a_row[node] = 0
        elif state is State.FAILED:
            self._failed[node] += 1
            self._in_a_row[node] += 1

    def verdict(self, node: str) -> Verdict:
        """What is known of a node by now."""
        if self._in_a_row[node] < FAILURES_IN_A_ROW:
            return Verdict.TRUSTED
        finished = sum(count for name, count in self._finished.items() if name != node)
        failed = sum(count for name, count in self._failed.items() if name != node)
        if finished + failed < TOLD_ELSEWHERE:
            return Verdict.WAITS
        return Verdict.BAD if failed <= TOLERATED_SHARE * (failed + finished) else Verdict.TRUSTED
