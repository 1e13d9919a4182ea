"""Objectives from TensorBoard's event files: written as PyTorch and as Keras write them, whole or torn."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard_bed import BEGIN_AT, write

import hpcsearch
from hpcsearch.errors import HpcsearchError, NotFoundError, UsageError
from hpcsearch.tensorboard.metric import Metric
from hpcsearch.tensorboard.naming import LONGEST, run_name
from hpcsearch.tensorboard.scalars import objective, read_scalars
from hpcsearch.worker import context


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.parametrize(("text", "expected"), [("val_loss", 0.75), ("val_loss:min", 0.25), ("val_loss:max", 1.0)])
def test_the_objective_is_the_last_or_the_least_or_the_greatest_value(
    tmp_path: Path, text: str, expected: float, as_tensors: bool
) -> None:
    write(tmp_path, "val_loss", [1.0, 0.25, 0.75], as_tensors=as_tensors)
    assert objective(tmp_path, Metric.parse(text)) == expected


def test_a_tag_of_one_folder_needs_no_folder_and_one_of_two_does(tmp_path: Path) -> None:
    write(tmp_path / "train", "epoch_loss", [3.0])
    write(tmp_path / "validation", "epoch_loss", [5.0])
    write(tmp_path / "validation", "accuracy", [0.5])
    assert objective(tmp_path, Metric.parse("accuracy")) == 0.5
    assert objective(tmp_path, Metric.parse("validation/epoch_loss:min")) == 5.0
    with pytest.raises(UsageError, match="several writers: train/epoch_loss, validation/epoch_loss"):
        objective(tmp_path, Metric.parse("epoch_loss"))


def test_what_is_missing_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"'loss' was written \(scalars there: none\)"):
        objective(tmp_path, Metric.parse("loss"))
    write(tmp_path, "val_loss", [1.0])
    with pytest.raises(NotFoundError, match=r"'loss' was written \(scalars there: val_loss\)"):
        objective(tmp_path, Metric.parse("loss"))


def test_files_follow_each_other_and_an_earlier_attempt_can_be_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "loss", [0.1, 0.2])
    write(tmp_path, "loss", [0.5, 0.4], at=BEGIN_AT + 100)
    assert [one.value for one in read_scalars(tmp_path)["loss"]] == pytest.approx([0.1, 0.2, 0.5, 0.4])
    assert objective(tmp_path, Metric.parse("loss:min")) == pytest.approx(0.1)
    assert objective(tmp_path, Metric.parse("loss:min"), since_at=BEGIN_AT + 50) == pytest.approx(0.4)


def test_a_torn_file_gives_what_is_whole(tmp_path: Path) -> None:
    file = write(tmp_path, "loss", [0.5, 0.25, 0.125])
    for missing in (1, 10, 30):
        file.write_bytes(file.read_bytes()[:-missing])
        values = [one.value for one in read_scalars(tmp_path)["loss"]]
        assert values == [0.5, 0.25][: len(values)] and values
    (tmp_path / "events.out.tfevents.empty").write_bytes(b"")
    (tmp_path / "events.out.tfevents.noise").write_bytes(b"\0no event file at all" * 20)
    assert objective(tmp_path, Metric.parse("loss")) in {0.5, 0.25}


def test_nan_is_passed_over_but_where_it_is_the_last_value(tmp_path: Path) -> None:
    write(tmp_path, "loss", [2.0, math.nan, 3.0, math.nan])
    assert objective(tmp_path, Metric.parse("loss:min")) == 2.0
    assert math.isnan(objective(tmp_path, Metric.parse("loss")))


@pytest.mark.parametrize(
    ("text", "name", "accumulation", "minimize"),
    [
        ("loss", "loss", "last", None),
        ("loss:min", "loss", "min", True),
        ("a/b:c:max", "a/b:c", "max", False),
        ("net:0", "net:0", "last", None),
    ],
)
def test_a_metric_is_a_name_and_perhaps_an_accumulation(
    text: str, name: str, accumulation: str, minimize: bool | None
) -> None:
    metric = Metric.parse(text)
    assert (metric.name, metric.accumulation, metric.minimize, str(metric)) == (name, accumulation, minimize, text)


@pytest.mark.parametrize("text", ["", ":min", "loss:mean", "loss:MIN"])
def test_a_wrong_metric_is_a_sentence(text: str) -> None:
    with pytest.raises(HpcsearchError, match=f"The metric {text!r}"):
        Metric.parse(text)


def test_logdir_is_the_evaluations_own_and_named_by_its_hyperparameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hpcsearch.tensorboard.logdir() == str(tmp_path / "tensorboard" / "by_hand")
    config = {"lr": 0.0030462747, "units": 66, "activation": "relu"}
    current = context.CurrentEvaluation(7, 1, 0, config, str(tmp_path / "7"))
    monkeypatch.setattr(context._Context, "current", current)
    first = Path(hpcsearch.tensorboard.logdir())
    assert first == tmp_path / "7" / "tensorboard" / "activation=relu,lr=0.003046,units=66"
    assert first.is_dir() and hpcsearch.tensorboard.logdir() == str(first)


@given(
    st.dictionaries(
        st.text(max_size=60), st.one_of(st.integers(), st.floats(), st.text(max_size=80), st.booleans()), max_size=40
    )
)
def test_a_name_is_short_and_safe_whatever_the_values_are(configuration: dict[str, object]) -> None:
    name = run_name(configuration)
    assert len(name) <= LONGEST
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-=,~")
    assert not name.startswith(".")


def test_logdir_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, hpcsearch; hpcsearch.tensorboard.logdir\n"
        "print([name for name in sys.modules if name.partition('.')[0] in {'tensorboard', 'numpy', 'h5py'}])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
