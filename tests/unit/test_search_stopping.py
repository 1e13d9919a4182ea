"""Stopping rules: what they decide, and that it follows from what they were told."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.errors import LoadError, SearchError, UsageError
from hpcsearch.search.stopping import STOPPER, check, create
from hpcsearch.search.stopping.asha import AshaStopper
from hpcsearch.search.stopping.base import Stopper
from hpcsearch.search.stopping.median import MedianStopper
from hpcsearch.search.stopping.metric import Metric, judged
from hpcsearch.search.stopping.order import TopShare

VALUES = st.floats(-100.0, 100.0) | st.just(-math.inf)
RULES = {"asha": AshaStopper, "median": MedianStopper}


# ---- order statistics


@given(st.lists(VALUES, max_size=60), st.sampled_from([1 / 4, 1 / 3, 1 / 2, 3 / 4]), st.sampled_from([0, 1]))
def test_the_limit_of_the_best_share(values: list[float], share: float, more: int) -> None:
    top = TopShare(share, more)
    for count, value in enumerate(values, start=1):
        top.add(value)
        size = min(count, int(count * share + 1e-9) + more)
        best = sorted(values[:count], reverse=True)[:size]
        assert top.limit == (best[-1] if best else None)
    assert len(top) == len(values)


@given(st.lists(VALUES, min_size=1, max_size=40))
def test_a_half_and_one_more_has_the_lower_median(values: list[float]) -> None:
    top = TopShare(0.5, more=1)
    for value in values:
        top.add(value)
    assert top.limit == statistics.median_low(values)


# ---- asynchronous successive halving


def climb(rule: Stopper, evaluation: int, value: float, steps: int) -> int:
    """Reports the same value at each step; the step at which it is stopped, 0 for never."""
    return next((step for step in range(1, steps + 1) if rule.tell(evaluation, float(step), value)), 0)


def test_asha_lets_one_of_eta_go_on_at_each_rung() -> None:
    rule = AshaStopper(eta=3.0, first=1.0)
    stops = [
        climb(rule, number, float(value), 27) for number, value in enumerate(random.Random(0).sample(range(90), 90))
    ]
    assert set(stops) <= {0, 1, 3, 9, 27}, "it decides at rungs alone"
    beyond = [sum(stop == 0 or stop > rung for stop in stops) for rung in (1, 3, 9)]
    # Who comes early is judged by few: some more go on than a third of those that came.
    assert 30 <= beyond[0] <= 40 and beyond[0] > beyond[1] > beyond[2] >= 2


def test_asha_never_stops_the_best() -> None:
    rule = AshaStopper(eta=4.0, first=1.0)
    for number in range(50):
        assert climb(rule, number, float(number), 64) == 0


def test_asha_stops_nobody_before_it_has_seen_eta() -> None:
    rule = AshaStopper(eta=4.0, first=1.0)
    assert [rule.tell(number, 1.0, -float(number)) for number in range(4)] == [False, False, False, True]


def test_asha_judges_where_the_first_report_beyond_a_rung_is() -> None:
    rule = AshaStopper(eta=3.0, first=10.0)
    for number in range(3):
        assert not rule.tell(number, 9.0, 0.0)
        assert not rule.tell(number, 100.0, 1.0 + number / 10)  # beyond 90, and the rungs 10 and 30 were passed unseen
        assert not rule.tell(number, 120.0, -1.0)  # between two rungs
    assert rule.tell(7, 95.0, 0.5)
    assert not rule.tell(8, 95.0, 2.0)


def test_ties_go_on() -> None:
    rule = AshaStopper(eta=3.0, first=1.0)
    assert not any(rule.tell(number, 1.0, 0.5) for number in range(30))


def test_one_that_begins_again_is_not_counted_twice() -> None:
    rule = AshaStopper(eta=2.0, first=1.0)
    for number, value in enumerate((3.0, 2.0, 1.0, 0.0)):
        rule.tell(number, 1.0, value)
    limit = rule._rungs[0].limit
    for _ in range(5):
        assert not rule.tell(0, 1.0, 9.0)
    assert rule._rungs[0].limit == limit and len(rule._rungs[0]) == 4


# ---- the median rule


def test_median_stops_who_is_behind_half_of_those_that_finished() -> None:
    rule = MedianStopper(startup=3)
    for number, value in enumerate((1.0, 2.0, 3.0)):
        assert climb(rule, number, value, 5) == 0
        rule.ended(number, True)
    assert climb(rule, 10, 1.9, 5) == 1
    assert climb(rule, 11, 2.0, 5) == 0, "the median itself goes on"
    assert not rule.tell(12, 6.0, 0.0), "nobody has been there"


def test_median_judges_by_the_best_value_against_means() -> None:
    rule = MedianStopper(startup=1)
    for step, value in ((1.0, 0.0), (2.0, 4.0), (3.0, 5.0)):  # means 0, 2, 3
        rule.tell(1, step, value)
    rule.ended(1, True)
    assert not rule.tell(2, 1.0, 2.5)
    assert not rule.tell(2, 2.0, 0.0), "its best is 2.5"
    assert rule.tell(2, 3.0, 0.0)


def test_median_waits_for_its_startup_and_its_warmup() -> None:
    rule = MedianStopper(startup=2, warmup=3.0)
    for number in (1, 2):
        assert climb(rule, number, 1.0, 6) == 0
        rule.ended(number, True)
    assert climb(rule, 3, 0.0, 6) == 4


def test_what_was_stopped_is_no_measure_for_the_median() -> None:
    rule = MedianStopper(startup=1)
    climb(rule, 1, 9.0, 3)
    rule.ended(1, False)
    assert climb(rule, 2, 0.0, 3) == 0


def test_one_that_goes_on_from_a_checkpoint_repeats_its_last_steps() -> None:
    once, again = MedianStopper(startup=1), MedianStopper(startup=1)
    for step in range(1, 7):
        once.tell(1, float(step), float(step))
    for step in (1, 2, 3, 4, 5, 3, 4, 5, 6):
        again.tell(1, float(step), float(step))
    assert once._curves[1].means == again._curves[1].means


# ---- all rules

Reports = list[tuple[int, int, float]]


def history_of(chance: random.Random) -> tuple[Reports, set[int]]:
    """Reports of several evaluations in some order, each one's by rising steps, and which of them finished."""
    lengths = [chance.randint(1, 10) for _ in range(chance.randint(1, 12))]
    order = [number for number, length in enumerate(lengths) for _ in range(length)]
    chance.shuffle(order)
    steps = [0] * len(lengths)
    reports: Reports = []
    for number in order:
        steps[number] += 1
        value = chance.choice([chance.uniform(-100.0, 100.0), float(chance.randint(0, 3)), -math.inf])
        reports.append((number, steps[number], value))
    return reports, {number for number in range(len(lengths)) if chance.random() < 0.5}


HISTORIES = st.integers(0, 2**32).map(lambda seed: history_of(random.Random(seed)))


def told(rule: Stopper, reports: Reports, finished: set[int]) -> Stopper:
    for number, step, value in reports:
        rule.tell(number, float(step), value)
    for number in finished:
        rule.ended(number, True)
    return rule


@settings(max_examples=150)
@pytest.mark.parametrize("kind", RULES)
@given(history=HISTORIES, more=HISTORIES, seed=st.integers(0, 2**32))
def test_after_a_restart_a_rule_decides_as_it_would_have(
    kind: str, history: tuple[Reports, set[int]], more: tuple[Reports, set[int]], seed: int
) -> None:
    """Told the same reports with the evaluations in any other order, and only afterwards which of them finished."""
    reports, finished = history
    live = RULES[kind]()
    lasts = {number: index for index, (number, _, _) in enumerate(reports)}
    for index, (number, step, value) in enumerate(reports):
        live.tell(number, float(step), value)
        if lasts[number] == index and number in finished:
            live.ended(number, True)
    others = list({number for number, _, _ in reports})
    random.Random(seed).shuffle(others)
    shuffled = [report for other in others for report in reports if report[0] == other]
    rebuilt = told(RULES[kind](), shuffled, finished)
    for number, step, value in more[0]:
        assert live.tell(100 + number, float(step), value) == rebuilt.tell(100 + number, float(step), value)


@settings(max_examples=150)
@pytest.mark.parametrize("kind", RULES)
@given(history=HISTORIES, step=st.integers(1, 10), values=st.tuples(VALUES, VALUES))
def test_who_is_better_is_never_stopped_instead(
    kind: str, history: tuple[Reports, set[int]], step: int, values: tuple[float, float]
) -> None:
    low, high = sorted(values)
    stops_low = told(RULES[kind](), *history).tell(1000, float(step), low)
    stops_high = told(RULES[kind](), *history).tell(1000, float(step), high)
    assert stops_low or not stops_high


@settings(max_examples=150)
@pytest.mark.parametrize("kind", RULES)
@given(history=HISTORIES, values=st.lists(VALUES, min_size=1, max_size=10))
def test_whoever_leads_at_every_step_is_never_stopped(
    kind: str, history: tuple[Reports, set[int]], values: list[float]
) -> None:
    rule = told(RULES[kind](), *history)
    assert not any(rule.tell(1000, float(step), 101.0 + step) for step, _ in enumerate(values, start=1))


# ---- which there are

OWN = """\
class Impatient:
    def __init__(self, steps: int = 2):
        self.steps = steps

    def tell(self, evaluation, step, value):
        return step >= self.steps

    def ended(self, evaluation, finished):
        pass
"""


def test_the_known_rules() -> None:
    assert STOPPER.known().keys() >= RULES.keys()
    for name, kind in RULES.items():
        assert isinstance(create(name), kind)


def test_one_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    rule = create("mine.py:Impatient", tmp_path, steps="3")
    assert [rule.tell(1, float(step), 0.0) for step in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("ash", {}, ["There is no stopping rule 'ash'. Did you mean asha?", "Known stopping rules: asha, median"]),
        ("asha", {"eta": "many"}, ["eta=many of stopping rule 'asha' is not of type float"]),
        ("asha", {"eta": "1"}, ["eta=1 would stop next to nothing", "1.5 or more"]),
        ("asha", {"first": "0"}, ["first=0"]),
        ("asha", {"etta": "3"}, ["has no argument 'etta'. Did you mean eta?", "--stopper-arg NAME=VALUE"]),
        ("median", {"startup": "0"}, ["startup=0"]),
        ("none", {"eta": "3"}, ["no stopping rule that could take eta", "--stopper: asha, median"]),
    ],
)
def test_wrong_rules_are_refused_in_words(name: str, arguments: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SearchError) as caught:
        check(name, arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_file_that_is_not_there_or_holds_something_else(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="there is no file"):
        check("nowhere.py:Rule", {}, tmp_path)
    (tmp_path / "other.py").write_text("class Rule:\n    pass\n")
    with pytest.raises(SearchError, match="not a class with the methods tell and ended"):
        check("other.py:Rule", {}, tmp_path)


# ---- the metric


@pytest.mark.parametrize(
    ("text", "metrics", "value"),
    [
        (None, {"loss": 0.5}, 0.5),
        (None, {"loss": 0.5, "accuracy": 0.9}, None),
        (None, {"objective": 0.7, "loss": 0.5}, 0.7),
        ("accuracy", {"loss": 0.5, "accuracy": 1}, 1.0),
        ("accuracy:max", {"loss": 0.5}, None),
        ("loss:min", {"loss": "low"}, None),
        ("loss:min", {"loss": True}, None),
        ("loss", {"loss": None}, None),
        (None, {}, None),
    ],
)
def test_which_value_decides(text: str | None, metrics: dict[str, Any], value: float | None) -> None:
    assert Metric.parse(text).value(metrics) == value


@pytest.mark.parametrize("text", ["loss:low", "loss:", "2nd", "a b", ":max", "loss:MIN"])
def test_wrong_metrics_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no metric to stop by"):
        Metric.parse(text)


def test_directions() -> None:
    assert [Metric.parse(text).sign(True) for text in (None, "a", "a:min", "a:max")] == [-1.0, -1.0, -1.0, 1.0]
    assert [Metric.parse(text).estimates_objective(False) for text in (None, "a", "a:min", "a:max")] == [
        *(True, True, False, True)
    ]
    assert judged(math.nan, -1.0) == -math.inf and judged(2.0, -1.0) == -2.0
