"""Configurations to vectors and back."""

from __future__ import annotations

import ConfigSpace as cs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.errors import SearchError
from hpcsearch.search.candidates import near
from hpcsearch.search.design import latin_hypercube
from hpcsearch.search.encoding import Encoding


@st.composite
def spaces(draw: st.DrawFn) -> cs.ConfigurationSpace:
    """Random spaces of every kind of hyperparameter, with conditions and forbidden clauses on a categorical parent."""
    space = cs.ConfigurationSpace()
    root = cs.CategoricalHyperparameter("root", ["a", "b", "c"], weights=draw(st.sampled_from([None, [1, 2, 3]])))
    space.add(root)
    for index, kind in enumerate(draw(st.lists(st.sampled_from("fFiIocCn"), min_size=1, max_size=6))):
        name = f"p{index}"
        lower, width = draw(st.integers(1, 50)), draw(st.integers(1, 1000))
        made = {
            "f": lambda n, lo, w: cs.Float(n, (lo - 30.0, lo - 30.0 + w)),
            "F": lambda n, lo, w: cs.Float(n, (lo * 1e-4, lo * 1e-4 + w), log=True),
            "i": lambda n, lo, w: cs.Integer(n, (lo - 30, lo - 30 + w)),
            "I": lambda n, lo, w: cs.Integer(n, (lo, lo + w), log=True),
            "o": lambda n, lo, w: cs.OrdinalHyperparameter(n, [lo, lo + w, lo + 2 * w]),
            "c": lambda n, lo, w: cs.CategoricalHyperparameter(n, [f"v{i}" for i in range(1 + lo % 15)]),
            "C": lambda n, lo, w: cs.Constant(n, w),
            "n": lambda n, lo, w: cs.Float(n, (0.0, 1.0 * w), distribution=cs.Normal(w / 2, w / 5)),
        }[kind](name, lower, width)
        space.add(made)
        if draw(st.booleans()):
            space.add(cs.InCondition(made, root, draw(st.sampled_from([["a"], ["b", "c"]]))))
        elif kind in "iI" and width > 3 and draw(st.booleans()):
            edge = made.lower + 1
            if made.default_value > edge:
                space.add(cs.ForbiddenLessThanEqualsClause(made, edge))
    return space


def assert_legal(space: cs.ConfigurationSpace, configurations: list[dict[str, object]]) -> None:
    for configuration in configurations:
        cs.Configuration(space, values=configuration)  # raises unless legal


@settings(max_examples=60)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_legal_and_survives_the_way_there_and_back(space: cs.ConfigurationSpace, seed: int) -> None:
    encoding = Encoding(space)
    rng = np.random.default_rng(seed)
    rows = encoding.draw(20, rng)
    configurations = encoding.decode(rows)
    assert len(configurations) == 20
    assert_legal(space, configurations)
    back = encoding.encode(configurations)
    assert encoding.legal(back).all()
    np.testing.assert_allclose(back, rows, atol=1e-9)
    assert encoding.decode(encoding.encode(encoding.decode(back))) == encoding.decode(back)
    features = encoding.features(rows)
    assert features.shape == (20, len(encoding.feature_groups))
    assert ((features >= 0.0) & (features <= 1.0 + 1e-9)).all()


@settings(max_examples=60)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_neighbours_are_legal_and_different(space: cs.ConfigurationSpace, seed: int) -> None:
    encoding = Encoding(space)
    rng = np.random.default_rng(seed)
    centres = encoding.draw(1, rng)
    kept = centres.copy()
    rows = near(encoding, centres, np.ones(len(encoding.columns)), 30, rng)
    assert_legal(space, encoding.decode(rows))
    np.testing.assert_array_equal(centres, kept)
    assert not any(np.array_equal(row, centres[0], equal_nan=True) for row in rows)


@settings(max_examples=30)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_neighbours_of_several_centres_are_legal(space: cs.ConfigurationSpace, seed: int) -> None:
    encoding, rng = Encoding(space), np.random.default_rng(seed)
    rows = near(encoding, encoding.draw(3, rng), np.ones(len(encoding.columns)), 30, rng)
    assert_legal(space, encoding.decode(rows))


def test_some_neighbours_mix_two_centres() -> None:
    encoding = Encoding(cs.ConfigurationSpace({f"x{index}": (0.0, 1.0) for index in range(6)}))
    centres = np.array([np.full(6, 0.2), np.full(6, 0.8)])
    rows = near(encoding, centres, np.full(6, 1e-3), 1000, np.random.default_rng(0))
    of_second = (rows > 0.5).sum(axis=1)
    assert 0.1 < np.mean((of_second > 0) & (of_second < 6)) < 0.2  # of three in ten, half mix a centre with itself


def test_illegal_and_incomplete_configurations_are_seen() -> None:
    space = cs.ConfigurationSpace({"n": (1, 5), "x": (0.0, 1.0), "k": ["a", "b"]})
    encoding = Encoding(space)
    good = {"n": 2, "x": 0.5, "k": "a"}
    bad = [{**good, "n": 2.5}, {**good, "n": 6}, {**good, "x": -0.1}, {**good, "x": "high"}, {**good, "k": "c"}]
    assert encoding.legal(encoding.encode([good, *bad, {"n": 2, "x": 0.5}])).tolist() == [True] + [False] * 6


def test_both_ends_of_an_integer_range_are_as_likely_as_the_middle() -> None:
    encoding = Encoding(cs.ConfigurationSpace({"n": (1, 4)}))
    drawn = [c["n"] for c in encoding.decode(encoding.draw(8000, np.random.default_rng(0)))]
    assert np.bincount(drawn, minlength=5)[1:] / 8000 == pytest.approx([0.25] * 4, abs=0.02)


def test_weights_and_log_scales_are_kept() -> None:
    space = cs.ConfigurationSpace()
    space.add(cs.CategoricalHyperparameter("k", ["a", "b"], weights=[1, 9]), cs.Float("x", (1e-4, 1.0), log=True))
    encoding = Encoding(space)
    drawn = encoding.decode(encoding.draw(4000, np.random.default_rng(0)))
    assert np.mean([c["k"] == "b" for c in drawn]) == pytest.approx(0.9, abs=0.03)
    assert np.mean([c["x"] < 1e-2 for c in drawn]) == pytest.approx(0.5, abs=0.04)


def test_keys_ignore_the_order_of_names_and_tell_absent_from_present() -> None:
    space = cs.ConfigurationSpace({"k": ["a", "b"], "x": (0.0, 1.0)})
    space.add(cs.EqualsCondition(space["x"], space["k"], "a"))
    key = Encoding(space).key
    assert key({"k": "a", "x": 0.5}) == key({"x": 0.5, "k": "a"})
    assert key({"k": "b"}) != key({"k": "b", "x": 0.5})


def test_enumeration_lists_each_legal_configuration_once() -> None:
    space = cs.ConfigurationSpace({"k": ["a", "b", "c"], "n": (1, 10), "m": (1, 3)})
    space.add(cs.EqualsCondition(space["n"], space["k"], "a"), cs.EqualsCondition(space["m"], space["n"], 4))
    space.add(cs.ForbiddenEqualsClause(space["n"], 7))
    encoding = Encoding(space)
    rows = encoding.enumerate(1000)
    assert rows is not None
    configurations = encoding.decode(rows)
    assert_legal(space, configurations)
    assert len({encoding.key(configuration) for configuration in configurations}) == len(configurations) == 2 + 8 + 3
    assert encoding.enumerate(5) is None


def test_a_space_that_forbids_everything_likely_is_refused() -> None:
    space = cs.ConfigurationSpace()
    x = cs.Float("x", (0.0, 1.0), default=0.0)
    space.add(x, cs.ForbiddenGreaterThanClause(x, 1e-12))
    with pytest.raises(SearchError, match="next to nothing"):
        Encoding(space).draw(1, np.random.default_rng(0))


def test_choices_are_equally_far_apart_and_what_is_inactive_is_far_from_none() -> None:
    space = cs.ConfigurationSpace({"k": ["a", "b", "c", "d"], "two": ["a", "b"], "x": (0.0, 1.0), "one": 3})
    space.add(cs.EqualsCondition(space["x"], space["two"], "b"))
    encoding = Encoding(space)
    rows = encoding.encode([{"k": k, "two": "a", "one": 3} for k in "abcd"])
    features = encoding.features(rows)
    assert features.shape[1] == len(encoding.feature_groups) == 6
    apart = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(apart, 1.0 - np.eye(4))
    off, on = encoding.features(
        encoding.encode([{"k": "a", "two": "a", "one": 3}, {"k": "a", "two": "b", "x": 0.5, "one": 3}])
    )
    assert ((off - on) ** 2).sum() == pytest.approx(1.0)  # as far as the choice that decides, no further


def test_a_latin_hypercube_has_one_point_in_each_stratum() -> None:
    points = latin_hypercube(9, 4, np.random.default_rng(0))
    assert (np.sort(np.floor(points * 9), axis=0) == np.arange(9)[:, None]).all()
    assert latin_hypercube(3, 0, np.random.default_rng(0)).shape == (3, 0)
