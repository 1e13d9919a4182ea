"""Metrics read while a script writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.program import ProgramError
from hpcsearch.script.metrics import Follower, LinesFile
from hpcsearch.tensorboard.metric import Metric
from hpcsearch.worker import context
from hpcsearch.worker.stopping import Stopped


class Script:
    """Stands for one that runs."""

    stopped = False

    def heed(self, tell: Any) -> None:
        tell()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float | None, dict[str, Any]]]:
    told: list[tuple[float | None, dict[str, Any]]] = []
    monkeypatch.setattr(context._Context, "reporter", staticmethod(lambda *report: told.append(report)))
    return told


CSV = "epoch,loss,val_loss\n0,1.0,0.5\n1,0.9,0.25\n2,0.8,0.75\n"
LINES = "".join(json.dumps({"step": step, "val_loss": value}) + "\n" for step, value in enumerate((0.5, 0.25, 0.75)))


@pytest.mark.parametrize("text", [CSV, LINES, CSV.replace(",", "\t"), CSV.replace("\n", "\r\n"), LINES[:-1], CSV[:-1]])
def test_a_file_is_read_whatever_its_form(tmp_path: Path, text: str) -> None:
    source = LinesFile(tmp_path / "log", "val_loss")
    assert source.new(ended=False) == []
    (tmp_path / "log").write_text(text, newline="")
    found = source.new(ended=False) + source.new(ended=True)
    assert found == [(0.0, 0.5), (1.0, 0.25), (2.0, 0.75)]
    assert source.new(ended=True) == []


@given(cuts=st.lists(st.integers(0, len(CSV))), text=st.sampled_from([CSV, LINES]))
def test_a_file_may_grow_anywhere(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], text: str) -> None:
    path = tmp_path_factory.mktemp("grown") / "log"
    source = LinesFile(path, "val_loss")
    found = []
    for cut in sorted(cuts):
        path.write_text(text[:cut])
        found += source.new(ended=False)
    path.write_text(text)
    found += source.new(ended=True)
    assert [value for _, value in found] == [0.5, 0.25, 0.75]


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    source = LinesFile(tmp_path / "log", "val_loss")
    (tmp_path / "log").write_text(CSV)
    assert len(source.new(ended=False)) == 3
    (tmp_path / "log").write_text("val_loss\n7\n")
    assert source.new(ended=False) == [(None, 7.0)]


@pytest.mark.parametrize(("suffix", "objective"), [("", 0.75), (":min", 0.25), (":max", 0.75)])
def test_the_metric_so_far_is_reported_and_the_last_of_it_is_the_objective(
    tmp_path: Path, reports: list[Any], suffix: str, objective: float
) -> None:
    metric = Metric.parse(f"val_loss{suffix}")
    follower = Follower(LinesFile(tmp_path / "log", "val_loss"), metric, Script())  # type: ignore[arg-type]
    (tmp_path / "log").write_text(CSV)
    assert follower.objective() == objective
    so_far = {"": [0.5, 0.25, 0.75], ":min": [0.5, 0.25, 0.25], ":max": [0.5, 0.5, 0.75]}[suffix]
    values = zip((0.5, 0.25, 0.75), so_far, strict=True)
    assert reports == [
        (float(step), {"val_loss": value, "objective": best}) for step, (value, best) in enumerate(values)
    ]


def test_a_zero_is_a_value_like_any_other(tmp_path: Path, reports: list[Any]) -> None:
    # the original began anew behind each zero
    follower = Follower(LinesFile(tmp_path / "log", "a"), Metric.parse("a:min"), Script())  # type: ignore[arg-type]
    (tmp_path / "log").write_text("a\n0\n5\n")
    assert follower.objective() == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "the script has not written .*/log"),
        ("a,b\n1,2\n", "/log has a, b"),
        ("", "/log has nothing of the kind"),
    ],
)
def test_without_a_value_it_is_said_what_there_is(tmp_path: Path, text: str | None, words: str) -> None:
    follower = Follower(LinesFile(tmp_path / "log", "x"), Metric.parse("x:min"), Script())  # type: ignore[arg-type]
    if text is not None:
        (tmp_path / "log").write_text(text)
    with pytest.raises(ProgramError, match=f"the metric x has no value: .*{words}"):
        follower.objective()


def test_a_script_that_was_stopped_before_its_first_value_has_none(tmp_path: Path) -> None:
    running = Script()
    running.stopped = True
    follower = Follower(LinesFile(tmp_path / "log", "x"), Metric.parse("x:min"), running)  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        follower.objective()
