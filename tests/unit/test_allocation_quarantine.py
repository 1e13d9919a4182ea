"""Which nodes are suspected, and what the others say about it."""

from __future__ import annotations

import pytest

from hpcsearch.allocation.quarantine import FAILURES_IN_A_ROW, TOLD_ELSEWHERE, Quarantine, Verdict
from hpcsearch.evaluation import State


def told(*ends: tuple[str, State, int]) -> Quarantine:
    quarantine = Quarantine()
    for node, state, count in ends:
        for _ in range(count):
            quarantine.take(node, state)
    return quarantine


def test_a_node_that_fails_waits_until_the_others_have_told() -> None:
    quarantine = told(("bad", State.FAILED, FAILURES_IN_A_ROW - 1))
    assert quarantine.verdict("bad") is Verdict.TRUSTED
    quarantine.take("bad", State.FAILED)
    assert quarantine.verdict("bad") is Verdict.WAITS
    for _ in range(TOLD_ELSEWHERE):
        assert quarantine.verdict("bad") is Verdict.WAITS
        quarantine.take("good", State.FINISHED)
    assert quarantine.verdict("bad") is Verdict.BAD
    assert quarantine.verdict("good") is Verdict.TRUSTED


def test_it_is_trusted_where_the_others_fail_too() -> None:
    quarantine = told(("one", State.FAILED, 10), ("two", State.FAILED, TOLD_ELSEWHERE))
    assert quarantine.verdict("one") is quarantine.verdict("two") is Verdict.TRUSTED


@pytest.mark.parametrize("state", [State.FINISHED, State.STOPPED])
def test_what_finishes_or_is_stopped_early_ends_the_row(state: State) -> None:
    quarantine = told(("one", State.FAILED, 5), ("one", state, 1), ("one", State.FAILED, 5))
    assert quarantine.verdict("one") is Verdict.TRUSTED
