"""How many evaluations may be under way because of those that are to succeed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation.successes import Successes
from hpcsearch.evaluation import State

ENDS = st.sampled_from([State.FINISHED, State.FAILED, State.TIMED_OUT, State.LOST, State.INTERRUPTED])


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 12), st.booleans(), st.data())
def test_as_many_succeed_as_are_wanted_and_not_one_more(
    wanted: int, before: int, slots: int, first_alone: bool, data: st.DataObject
) -> None:
    successes, count, under_way = Successes(before, wanted, first_alone), before, 0
    for _ in range(200):
        under_way += int(min(successes.room(under_way), slots - under_way))
        if first_alone and count == 0:
            assert under_way == 1 and successes.testing
        if successes.end:
            break
        assert under_way > 0, "nothing runs, and nothing may begin"
        state = data.draw(ENDS)
        under_way -= 1
        count += state is State.FINISHED
        successes.take(state)
    assert count <= max(wanted, before)
    assert bool(successes.end) == (count >= wanted)
    assert not successes.end or under_way == 0


def test_without_an_end_everything_may_begin() -> None:
    successes = Successes(7, None, first_alone=False)
    assert successes.room(1000) == successes.left(1000) == math.inf
    assert successes.end == ""


@pytest.mark.parametrize("before", [1, 5])
def test_one_success_is_enough_for_the_others_to_begin(before: int) -> None:
    assert Successes(before, None, first_alone=True).room(3) == math.inf


def test_while_the_first_is_alone_the_others_are_still_to_come() -> None:
    """Their nodes are kept, and what they will run is asked for."""
    successes = Successes(0, 10, first_alone=True)
    assert (successes.room(0), successes.room(1), successes.left(1)) == (1, 0, 9)
    successes.take(State.FAILED)
    assert successes.room(0) == 1
    successes.take(State.FINISHED)
    assert (successes.testing, successes.room(0)) == (False, 9)
