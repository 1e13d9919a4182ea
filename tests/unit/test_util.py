"""The helpers that old notebooks call, with and without a session in front."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from hpcsearch import devices, experiment, util
from hpcsearch.errors import UsageError
from hpcsearch.worker import context

spark = object()


@pytest.fixture
def in_evaluation() -> Iterator[None]:
    """An evaluation of four ranks."""
    context.enter(context.CurrentEvaluation(1, 1), lambda *_: None, context.World(0, 4, 0, 2, 0, ("a", "b")))
    yield
    context.enter(context._BY_HAND, lambda *_: None)


def test_the_seed_s_grid_is_ready_to_be_launched() -> None:
    args_dict = {"learning_rate": [0.001, 0.0005, 0.0001], "dropout": [0.45, 0.7]}
    assert util.grid_params(args_dict) == {
        "learning_rate": [0.001, 0.001, 0.0005, 0.0005, 0.0001, 0.0001],
        "dropout": [0.45, 0.7, 0.45, 0.7, 0.45, 0.7],
    }
    with pytest.raises(UsageError, match="'a' is 1, not a list of values"):
        util.grid_params({"a": 1})  # type: ignore[dict-item]


def test_executors_are_what_experiments_run_on() -> None:
    assert util.num_executors(spark) == util.num_executors() >= 1
    with experiment.on(site="slurm", queue="debug", nodes=3, evals_per_node=4):
        assert util.num_executors(spark) == 12
        assert util.num_param_servers(spark) == 0


@pytest.mark.usefixtures("in_evaluation")
def test_in_an_evaluation_they_are_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert util.num_executors() == 4
    assert util.num_param_servers() == 0
    cluster = {"ps": ["a:1"], "chief": ["a:2"], "worker": ["b:1", "b:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster}))
    assert util.num_param_servers(spark) == 1


def test_gpus_are_those_that_were_given_and_not_all_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original counted what nvidia-smi lists."""
    monkeypatch.delenv(context.OWN_GPUS, raising=False)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "2,5")
    assert devices.get_num_gpus() == 2
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    assert devices.get_num_gpus() == 0
