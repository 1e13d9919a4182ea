"""How long evaluations take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation.durations import Durations

SECONDS = st.floats(0, 1e6)


def test_nothing_is_known_at_first() -> None:
    assert Durations().quantile(0.5) is None


@given(st.lists(SECONDS, min_size=1, max_size=700), st.floats(0, 1))
def test_a_quantile_of_the_latest(seconds: list[float], share: float) -> None:
    found = Durations(seconds).quantile(share)
    latest = sorted(seconds[-Durations.WINDOW :])
    assert found is not None and found in latest
    assert sum(one <= found for one in latest) >= share * len(latest)
    assert sum(one < found for one in latest) <= share * len(latest)


@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(0, 1))
def test_one_after_the_other_is_nearly_the_same(seconds: list[float], share: float) -> None:
    durations = Durations()
    for one in seconds:
        durations.add(one)
        assert durations.quantile(share) is not None
    # A sixteenth may not be counted yet, and what is new counts when it is more.
    known = [Durations(seconds[:count]).quantile(share) for count in range(max(1, len(seconds) - 3), len(seconds) + 1)]
    assert durations.quantile(share) in known


def test_old_ones_are_forgotten() -> None:
    durations = Durations([100.0] * Durations.WINDOW)
    for _ in range(Durations.WINDOW):
        durations.add(1.0)
        durations.quantile(0.5)
    assert durations.quantile(0.9) == 1.0
