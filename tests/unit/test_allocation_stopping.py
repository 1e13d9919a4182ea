"""What the driver does with reports: the rule decides, evaluations are asked to end, and then made to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.allocation.executor import Ended
from hpcsearch.allocation.plan import Plan
from hpcsearch.allocation.stopping import Stopping
from hpcsearch.evaluation import Evaluation, State

RULES = """\
class Below:
    '''Stops what reports less than a limit; it is told in which direction by the driver alone.'''

    def __init__(self, limit: float = 0.0):
        self.limit, self.told, self.over = limit, [], []

    def tell(self, evaluation, step, value):
        self.told.append((evaluation, step, value))
        return value < self.limit

    def ended(self, evaluation, finished):
        self.over.append((evaluation, finished))

class Broken(Below):
    def tell(self, evaluation, step, value):
        raise RuntimeError("it thinks no more")
"""


class Hand:
    """Loop and executor at once: keeps what is asked for, and lets time pass when told so."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.stopped: list[tuple[list[int], State]] = []
        self.killed: list[tuple[list[int], State]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.later.append((delay_s, callback))

    def stop(self, evaluations: Iterable[int], state: State) -> None:
        self.stopped.append((list(evaluations), state))

    def kill(self, evaluations: Iterable[int], state: State) -> None:
        self.killed.append((list(evaluations), state))

    def let_time_pass(self) -> None:
        for _, callback in self.later:
            callback()
        self.later.clear()


class Bed:
    def __init__(self, folder: Path, minimize: bool = False, known: bool = True, **settings: Any) -> None:
        (folder / "rules.py").write_text(RULES)
        fixed = {
            "workflow": "w",
            "directory": str(folder),
            "allocation": 1,
            "site": "local",
            "run": "r.py",
            "names": (),
        }
        more = {"job_mode": "serial", "nodes": 1, "walltime_s": 60.0, "cwd": str(folder)}
        plan = Plan(**{**fixed, **more, "stopper": "rules.py:Below", **settings})  # type: ignore[arg-type]
        self.hand = Hand()
        self.progress: list[tuple[int, float]] = []
        self.stopping = Stopping(self.hand, plan, self.hand, self._progressed)  # type: ignore[arg-type]
        self._opening = (minimize, known)

    def _progressed(self, evaluation: Evaluation, value: float) -> None:
        self.progress.append((evaluation.id, value))

    def open(self, *finished: int) -> Bed:
        self.stopping.opened(*self._opening, finished)
        return self

    @property
    def rule(self) -> Any:
        return self.stopping._rule

    def report(self, identity: int, value: Any, step: float | None = None, attempt: int = 1, **more: Any) -> None:
        self.stopping.reported(Evaluation(identity, {}, attempt), step, {"score": value, **more})

    def end(self, identity: int, state: State, objective: float | None = None, attempt: int = 1, **more: Any) -> Ended:
        return self.stopping.ended(Evaluation(identity, {}, attempt), Ended(state, 1.0, 2.0, 1.0, objective, **more))


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path).open()


def test_one_that_is_behind_is_asked_once_and_killed_after_the_grace(bed: Bed) -> None:
    bed.report(1, 0.5)
    assert bed.hand.stopped == []
    bed.report(1, -0.5)
    bed.report(1, -0.6)
    assert bed.hand.stopped == [([1], State.STOPPED)] and bed.hand.later[0][0] == 60.0
    bed.hand.let_time_pass()
    assert bed.hand.killed == [([1], State.STOPPED)]
    ended = bed.end(1, State.STOPPED)
    assert ended.objective == -0.6 and ended.failure is not None
    assert ended.failure["message"] == "stopped by rules.py:Below after -0.6, and its process was ended"


def test_one_that_ends_by_itself_is_not_killed(bed: Bed) -> None:
    bed.report(1, -0.5)
    assert bed.end(1, State.STOPPED, 0.7).objective == 0.7, "what it returned counts"
    bed.report(2, 0.5)
    bed.hand.let_time_pass()
    assert bed.hand.killed == []


def test_one_that_finished_all_the_same_has_finished(bed: Bed) -> None:
    bed.report(1, -0.5)
    ended = bed.end(1, State.FINISHED, 0.9)
    assert (ended.state, ended.objective, ended.failure) == (State.FINISHED, 0.9, None)
    assert bed.rule.over == [(1, True)]


def test_one_that_is_tried_again_is_asked_again(bed: Bed) -> None:
    bed.report(1, -0.5)
    assert bed.end(1, State.LOST).state is State.LOST
    bed.hand.let_time_pass()
    assert bed.hand.killed == [], "its second attempt has a grace of its own"
    bed.report(1, 0.5, attempt=2)
    assert len(bed.hand.stopped) == 2
    bed.hand.let_time_pass()
    assert bed.hand.killed == [([1], State.STOPPED)]


def test_a_rule_is_told_values_of_which_greater_is_better(tmp_path: Path) -> None:
    for minimize, metric, value in ((True, None, -2.0), (False, None, 2.0), (False, "score:min", -2.0)):
        made = Bed(tmp_path, minimize=minimize, stopper_metric=metric).open()
        made.report(1, 2.0, step=7.0)
        made.report(2, math.nan)
        made.report(3, "high")
        assert made.rule.told == [(1, 7.0, value), (2, 1.0, -math.inf)]


def test_reports_without_a_step_are_counted(bed: Bed) -> None:
    for _ in range(3):
        bed.report(1, 1.0)
    bed.report(2, 1.0, step=math.inf)
    assert [step for _, step, _ in bed.rule.told] == [1.0, 2.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("minimize", "known", "metric", "objective"),
    [
        (False, True, None, -1.0),
        (False, True, "score:min", None),  # of another size than the objective
        (True, True, "score:min", -1.0),
        (False, False, "score:max", None),  # nobody has looked at the problem
    ],
)
def test_the_last_value_stands_for_the_objective_where_it_can(
    tmp_path: Path, minimize: bool, known: bool, metric: str | None, objective: float | None
) -> None:
    made = Bed(tmp_path, minimize, known, stopper_metric=metric).open()
    made.report(1, -1.0)
    assert made.end(1, State.STOPPED).objective == objective


def test_one_that_stops_itself_needs_no_rule(tmp_path: Path) -> None:
    made = Bed(tmp_path, stopper="none").open()
    made.report(1, 0.25)
    ended = made.end(1, State.STOPPED, failure={"kind": "Stopped", "message": "enough", "traceback": ""})
    assert ended.objective == 0.25 and ended.failure is not None
    assert ended.failure["message"] == "the run function stopped itself: enough"
    assert made.end(2, State.STOPPED).objective is None
    interrupted = made.end(3, State.INTERRUPTED, failure={"kind": "Stopped", "message": "", "traceback": ""})
    assert interrupted.failure is None


def test_the_search_hears_of_those_that_go_on_ever_more_seldom(tmp_path: Path) -> None:
    made = Bed(tmp_path, minimize=True, stopper_metric="score:min", stopper_arguments={"limit": "-100"}).open()
    for value in range(1, 10):
        made.report(1, float(value))
    made.report(2, math.nan)
    made.report(3, 200.0)
    assert made.progress == [(1, 1.0), (1, 2.0), (1, 4.0), (1, 8.0)], "neither what is no number, nor what is stopped"
    for settings in ({"stopper": "none"}, {"stopper_metric": "score:max"}):  # nobody judges; of another size
        other = Bed(tmp_path, minimize=True, **settings).open()
        other.report(1, 1.0)
        assert other.progress == []


def test_what_was_reported_before_is_told_first(tmp_path: Path) -> None:
    made = Bed(tmp_path)
    made.stopping.past([(1, 1.0, {"score": -5.0}), (1, 2.0, {"other": 1.0, "more": 2.0}), (2, None, {"score": 3.0})])
    made.stopping.past([(2, None, {"score": 4.0})])
    made.open(1)
    assert made.rule.told == [(1, 1.0, -5.0), (2, 1.0, 3.0), (2, 2.0, 4.0)] and made.rule.over == [(1, True)]
    assert made.hand.stopped == []
    made.report(2, 5.0)
    assert made.rule.told[-1] == (2, 3.0, 5.0)


@pytest.mark.parametrize("rule", ["rules.py:Broken", "rules.py:Gone", "nowhere.py:Rule"])
def test_a_rule_that_fails_stops_nothing(tmp_path: Path, rule: str, caplog: pytest.LogCaptureFixture) -> None:
    made = Bed(tmp_path, stopper=rule).open()
    for value in (-1.0, -2.0):
        made.report(1, value)
    assert made.hand.stopped == [] and made.end(1, State.FINISHED, 1.0).objective == 1.0
    assert caplog.text.count("failed, and stops nothing any more") == 1


def test_reports_that_do_not_say_which_value_decides_are_told_of_once(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    bed.report(1, -1.0, loss=2.0)
    bed.report(1, -1.0, loss=2.0)
    assert bed.hand.stopped == []
    assert caplog.text.count("--stopper-metric says which one decides") == 1 and "loss, score" in caplog.text
