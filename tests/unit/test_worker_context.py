"""What a run function can ask while it runs."""

from __future__ import annotations

import contextlib
import io
import math
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpcsearch
from hpcsearch.errors import NotFoundError
from hpcsearch.worker import context
from hpcsearch.worker.environment import GPU_VARIABLES


@pytest.fixture
def told() -> Iterator[list[tuple[float | None, dict[str, Any]]]]:
    """Where reports go meanwhile; afterwards there is no evaluation again."""
    reports: list[tuple[float | None, dict[str, Any]]] = []
    before = context._Context.current, context._Context.reporter, context._Context.world
    yield reports
    context._Context.current, context._Context.reporter, context._Context.world = before


def test_by_hand_there_is_no_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    current = hpcsearch.evaluation()
    assert (current.id, current.attempt, current.slot, current.config) == (0, 0, 0, {})
    assert current.time_left_s == math.inf
    assert current.directory == tmp_path
    hpcsearch.report(step=1, loss=0.5)  # goes nowhere


def test_within_an_evaluation(tmp_path: Path, told: list[tuple[float | None, dict[str, Any]]]) -> None:
    folder = tmp_path / "evaluations" / "7"
    entered = context.CurrentEvaluation(7, 2, 1, {"lr": 0.1}, str(folder), time.monotonic() + 60.0)
    context.enter(entered, lambda step, metrics: told.append((step, metrics)))
    current = hpcsearch.evaluation()
    assert (current.id, current.attempt, current.slot, current.config) == (7, 2, 1, {"lr": 0.1})
    assert 59.0 < current.time_left_s <= 60.0
    hpcsearch.report(loss=0.5)
    hpcsearch.report(step=3, loss=0.25, accuracy=0.9)
    assert told == [(None, {"loss": 0.5}), (3, {"loss": 0.25, "accuracy": 0.9})]


def test_a_directory_is_made_when_it_is_asked_for(
    tmp_path: Path, told: list[tuple[float | None, dict[str, Any]]]
) -> None:
    folder = tmp_path / "evaluations" / "7"
    context.enter(context.CurrentEvaluation(7, 1, 0, {}, str(folder)), lambda *_: None)
    assert not folder.exists()
    assert hpcsearch.evaluation().directory == folder
    assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    (folder / "checkpoint").write_text("1")
    context.enter(context.CurrentEvaluation(7, 2, 0, {}, str(folder)), lambda *_: None)
    assert (hpcsearch.evaluation().directory / "checkpoint").read_text() == "1"


def test_alone_it_is_rank_0_of_1() -> None:
    here = hpcsearch.world()
    assert (here.rank, here.size, here.local_rank, here.local_size, here.node_rank) == (0, 1, 0, 1, 0)
    assert here.hosts == (socket.gethostname(),)


def test_the_place_among_the_ranks_of_an_evaluation(told: list[tuple[float | None, dict[str, Any]]]) -> None:
    place = context.World(3, 4, 1, 2, 1, ("n1", "n2"))
    context.enter(context.CurrentEvaluation(7, 1, 0, {}, "."), lambda *_: None, place)
    assert hpcsearch.world() == place
    context.enter(context.CurrentEvaluation(8, 1, 0, {}, "."), lambda *_: None)
    assert hpcsearch.world().size == 1


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,3"}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"ROCR_VISIBLE_DEVICES": "1"}, 1),
        ({"ZE_AFFINITY_MASK": "0.0,0.1,1.0"}, 3),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", context.OWN_GPUS: "2,3"}, 2),
        ({"CUDA_VISIBLE_DEVICES": "0", context.OWN_GPUS: ""}, 0),
    ],
)
def test_the_gpus_that_are_its_own(variables: dict[str, str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*GPU_VARIABLES, context.OWN_GPUS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hpcsearch.num_gpus() == count


def test_a_line_of_the_log_has_the_time_and_the_rank(
    tmp_path: Path, told: list[tuple[float | None, dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    hpcsearch.log("by hand")
    context.enter(context.CurrentEvaluation(7, 1, 0, {}, str(tmp_path)), lambda *_: None)
    with contextlib.redirect_stdout(io.StringIO()) as elsewhere:
        hpcsearch.log("epoch 3\nloss 0.5\n")
    context.enter(context.CurrentEvaluation(7, 1, 0, {}, str(tmp_path)), lambda *_: None, context.World(rank=3, size=4))
    hpcsearch.log("\udcff")
    at = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert elsewhere.getvalue() == ""
    expected = rf"{at} by hand\n{at} epoch 3\n    loss 0.5\n{at} \[rank 3\] \\udcff\n"
    assert re.fullmatch(expected, capfd.readouterr().out)


# ---- in a program of an evaluation


def test_a_program_knows_its_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EVALUATION": "7", "CONFIG": '{"lr": 0.5}', "DIRECTORY": str(tmp_path / "7")}.items():
        monkeypatch.setenv(f"HPCSEARCH_{name}", value)
    current = hpcsearch.evaluation()
    assert (current.id, current.config, current.directory) == (7, {"lr": 0.5}, tmp_path / "7")
    assert hpcsearch.tensorboard.logdir().startswith(str(tmp_path / "7"))


def test_an_array_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCSEARCH_ARTIFACTS", str(tmp_path))
    (tmp_path / "lr.npy").touch()
    assert hpcsearch.artifact("lr") == str(tmp_path / "lr.npy")
    with pytest.raises(NotFoundError, match="There is no array 'units'"):
        hpcsearch.artifact("units")
    monkeypatch.delenv("HPCSEARCH_ARTIFACTS")
    with pytest.raises(NotFoundError, match="There is no array 'lr'"):
        hpcsearch.artifact("lr")
