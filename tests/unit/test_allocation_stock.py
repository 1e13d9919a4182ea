"""How many proposals are held ahead of the slots."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation import proposals
from hpcsearch.allocation.proposals import MAX_AHEAD, Stock


class Bench:
    """A stock whose slots take what they are given, and the time that passes meanwhile."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        patch.setattr(proposals, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.stock = Stock()

    def step(self, used: int, slots: int, median_s: float | None, latency_s: float | None = None) -> int:
        self.now_s += 0.1
        self.stock.used(used)
        if latency_s is not None:
            self.stock.answered(latency_s)
        return self.stock.wanted(slots, median_s)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_one_is_enough_while_nothing_is_known(bench: Bench) -> None:
    assert bench.step(4, 1000, None) == 1


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.none() | st.floats(0, 20)), max_size=10),
    st.integers(0, 100_000),
    st.floats(0, 1e5),
)
def test_it_is_never_nothing_nor_without_end(
    steps: list[tuple[int, float | None]], slots: int, median_s: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bench = Bench(patch)
        for used, latency_s in steps:
            assert 1 <= bench.step(used, slots, median_s, latency_s) <= MAX_AHEAD


def test_long_evaluations_need_hardly_any(bench: Bench) -> None:
    wanted = [bench.step(1, 8, 60.0, 0.05) for _ in range(20)]
    assert max(wanted) <= 2


def test_what_the_slots_use_while_an_ask_is_answered_is_there(bench: Bench) -> None:
    # 8 slots, evaluations of 50 ms: 160 a second, and asks that take half a second.
    for _ in range(50):
        wanted = bench.step(16, 8, 0.05, 0.5)
    assert 80 <= wanted <= 160


def test_it_grows_from_starvation(bench: Bench) -> None:
    used, wanted = 1, []
    for _ in range(15):
        wanted.append(bench.step(used, 8, 0.001, 0.1))
        used = min(wanted[-1], 800)  # the slots could do 8000 a second, but have no more than they got
    assert wanted[-1] > 20 * wanted[0] and wanted[-1] >= 800


def test_it_falls_when_evaluations_become_long(bench: Bench) -> None:
    for _ in range(20):
        many = bench.step(800, 8, 0.001, 0.1)
    assert many > 500
    assert bench.step(8, 8, 10.0, 0.1) <= 2
