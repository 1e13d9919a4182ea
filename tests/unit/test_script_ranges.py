"""The ranges of scripts' hyperparameters: every form of the seed, and the errors of the original that are not made."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpcsearch.errors import UsageError
from hpcsearch.script.bounds import LOG_FLOOR, Bounds, parse_bounds
from hpcsearch.script.ranges import Range, parse_range

# ---- grids


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        # The examples of the seed, as it says that they come out.
        ("0.01:0.01:0.1", [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]),
        ("1e-5:l5:0.1", [1e-5, 1e-4, 1e-3, 0.01, 0.1]),
        ("0:3", [0, 1, 2, 3]),
        (":3", [0, 1, 2, 3]),
        ("0.1", [0.1]),
        ("2,5,6", [2, 5, 6]),
        # What else the original reads.
        ("0.1:0.05:0.3", [0.1, 0.15, 0.2, 0.25, 0.3]),
        ("0:2:10", [0, 2, 4, 6, 8, 10]),
        ("0:3:10", [0, 3, 6, 9]),
        ("0:0.3:1", [0.0, 0.3, 0.6, 0.9]),
        ("0:-1:-5", [0, -1, -2, -3, -4, -5]),
        ("5:-1:0", [5, 4, 3, 2, 1, 0]),
        ("0.1:3:0.3", [0.1, 0.2, 0.3]),
        ("0:5:5", [0, 5]),  # as many as the distance: a step
        ("0:2:1", [0, 1]),  # more: a number of values
        ("0.01:4l:10", [0.01, 0.1, 1.0, 10.0]),
        ("2:5", [2, 3, 4, 5]),
        # What it should.
        ("relu,tanh", ["relu", "tanh"]),
        ("1,2.5", [1.0, 2.5]),
        ("relu,1", ["relu", "1"]),
        ("True,False", [True, False]),
        ("-1,-2", [-1, -2]),
        ("adam", ["adam"]),
        ("0.5:3", [0.5, 1.5, 2.5]),  # it went to 3.5
        ("0:2.5", [0.0, 1.0, 2.0]),  # and to 3
        ("0:0.7:2", [0.0, 0.7, 1.4]),  # and to 2.1
        ("1:l3:100", [1, 10, 100]),
        ("0.1:l2:0.001", [0.1, 0.001]),
        ("0:u3:10", [0, 5, 10]),
        ("0:3u:10", [0, 5, 10]),
        ("3", [3]),
    ],
)
def test_a_range_has_these_values(spec: str, values: list[Any]) -> None:
    found = list(parse_range(f"x={spec}").values)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("spec", ["1e-5:10:0.1", "1e-5:u10:0.1"])  # the original had no u, whatever it told
def test_ten_even_values(spec: str) -> None:
    values = parse_range(f"lr={spec}").values
    assert len(values) == 10 and values[0] == 1e-5 and values[-1] == 0.1
    gaps = [after - before for before, after in itertools.pairwise(values)]  # type: ignore[operator]
    assert max(gaps) - min(gaps) < 1e-9


def test_values_between_powers() -> None:
    assert parse_range("x=1:5l:100").values == pytest.approx([1, 10**0.5, 10, 10**1.5, 100])
    assert len(parse_range("x=0:10:5").values) == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "has no values"),
        ("lr=", "has no values"),
        ("=3", "is no name"),
        ("1r=3", "is no name"),
        ("x=3:1", "has no values: steps of 1 from 3 do not lead to 1; write 3:-1:1"),  # the original had none
        ("x=0:-1:5", "has no values"),
        ("x=0:0:1", "has a step of 0"),  # it divided by it
        ("x=0:l5:1", "is logarithmic and has an end that is not above 0: 0"),  # it made NaN
        ("x=-1:l5:1", "not above 0: -1"),
        ("x=:l5:1", "not above 0: 0"),
        ("x=0:1:3:4", "has 4 fields between colons"),  # it ignored the fourth
        ("x=0:u0:1", "has 0 values"),
        ("x=0:u1:1", "asks for 1 value from 0 to 1"),
        ("x=1:l3:1", "asks for 3 values from 1 to 1"),
        ("x=0:relu", "has 'relu' where a number is needed"),
        ("x=0:", "has an empty field"),
        ("x=0::5", "has an empty field"),
        ("x=0:nan:5", "has 'nan' where a number"),
        ("x=0:k5:1", "has 'k5' where a number"),
        ("x=1,,2", "has an empty value"),
        ("x=1,1", "has a value twice"),
        ("x=0:1e-9:1", "values, and not 1 to"),
    ],
)
def test_what_cannot_be_meant_shows_the_right_form(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_range(text)
    assert words in caught.value.message
    assert caught.value.hint


NUMBERS = st.integers(-1000, 1000) | st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(start=NUMBERS, step=NUMBERS, end=NUMBERS)
def test_steps_stay_between_the_ends_and_begin_at_the_first(start: float, step: float, end: float) -> None:
    assume(step != 0 and abs((end - start) / step) < 1e4)
    try:
        values = [float(value) for value in parse_range(f"x={start!r}:{step!r}:{end!r}").values]
    except UsageError as error:
        assert "has no values" in error.message or "asks for" in error.message
        return
    assert values[0] == pytest.approx(start)
    assert min(start, end) - 1e-6 <= min(values) and max(values) <= max(start, end) + 1e-6
    assert len(set(values)) == len(values)


@given(start=st.floats(1e-6, 1e3), end=st.floats(1e-6, 1e3), count=st.integers(2, 50))
def test_logarithmic_values_have_one_ratio(start: float, end: float, count: int) -> None:
    assume(abs(math.log(end / start)) > 0.1)
    found = parse_range(f"x={start!r}:l{count}:{end!r}")
    values = [float(value) for value in found.values]
    assert found.log and len(values) == count
    assert (values[0], values[-1]) == (pytest.approx(start), pytest.approx(end))
    ratios = [after / before for before, after in itertools.pairwise(values)]
    assert max(ratios) == pytest.approx(min(ratios))


def test_a_list_has_nothing_between_its_values() -> None:
    assert parse_range("x=1,2") == Range("x", (1, 2), listed=True)
    assert parse_range("x=1:2") == Range("x", (1, 2))


# ---- bounds


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        # The seed's three examples; the original computed log(0) for the first two.
        ("0:1:10:urla", Bounds("lr", LOG_FLOOR, 1.0, 10, True, True, True, True)),
        ("0:5:l", Bounds("lr", 5 * LOG_FLOOR, 5.0, log=True, floored=True)),
        ("5:5:10:alu", Bounds("lr", 5.0, 5.0, 10, unbounded=True, log=True)),
        ("0.1:1:10:rula", Bounds("lr", 0.1, 1.0, 10, True, True, True)),
        ("1e-5:0.1:l", Bounds("lr", 1e-5, 0.1, log=True)),
        ("0.1:1", Bounds("lr", 0.1, 1.0)),
        ("0:1:", Bounds("lr", 0.0, 1.0)),
        ("-1:1:u", Bounds("lr", -1.0, 1.0, unbounded=True)),
    ],
)
def test_bounds_are_these(spec: str, bounds: Bounds) -> None:
    assert parse_bounds(f"lr={spec}") == bounds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr=0:1:10", "have the flag '1', which is none"),
        ("lr=0:1:uu", "have the flag 'u' twice"),
        ("lr=0:1:x", "have the flag 'x', which is none"),
        ("lr=0.1", "have 1 field"),
        ("lr=1:0", "have a MIN above their MAX"),
        ("lr=0:1:0:a", "have the array length '0'"),
        ("lr=0:1:ten:a", "have the array length 'ten'"),
        ("lr=0:1:a", "have 3 fields: an array needs MIN:MAX:LENGTH:FLAGS"),
        ("lr=0:1:10:u", "have 4 fields: a length needs the flag a"),
        ("lr=a:1", "have 'a' where a number is needed"),
        ("lr=0:inf", "have 'inf' where a number is needed"),
        ("lr=-2:-1:l", "are logarithmic and end at -1"),
        ("lr", "has no values"),
    ],
)
def test_bounds_that_cannot_be_meant_show_the_right_form(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_bounds(text)
    assert words in caught.value.message
    assert caught.value.hint


def test_the_middle_is_on_the_scale() -> None:
    assert parse_bounds("lr=1e-5:0.1:l").middle == pytest.approx(1e-3)
    assert parse_bounds("lr=5:5:10:alu").middle == pytest.approx(5.0)
    assert parse_bounds("lr=0:1").middle == 0.5
