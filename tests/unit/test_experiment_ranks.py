"""One run of several ranks from Python: functions, programs and notebooks, as the seeds start them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import allreduce, experiment
from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import State
from hpcsearch.experiment.program import program_of

pytestmark = pytest.mark.usefixtures("own_folder")

spark = object()


def notebook(path: Path, *cells: str) -> Path:
    """A notebook with these cells of code, as Jupyter writes it."""
    code = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
        for n, text in enumerate(cells)
    ]
    markdown = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Training with *Horovod*"}
    path.write_text(json.dumps({"cells": [markdown, *code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


#: What a rank is told by PyTorch's own launchers, told by hpcsearch's.
RANK = "import os; rank, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])"


@pytest.mark.horovod
def test_a_function_runs_once_as_several_ranks(tmp_path: Path) -> None:
    def training() -> int:
        import os

        import hpcsearch

        world = hpcsearch.world()
        assert (world.rank, world.size) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        Path(tmp_path, f"rank{world.rank}").touch()
        return 10 + world.rank

    found = experiment.allreduce(training, ranks=2, library="torch")
    assert sorted(path.name for path in tmp_path.glob("rank*")) == ["rank0", "rank1"]
    assert [one.state for one in found.evaluations] == [State.FINISHED]
    assert found.metric == 10.0 and found.best == {}


@pytest.mark.horovod
def test_horovod_is_what_ranks_meet_with_by_default() -> None:
    def training() -> float:
        import horovod.torch as hvd
        import torch

        hvd.init()
        return float(hvd.allreduce(torch.tensor([1.0 + hvd.rank()]), op=hvd.Sum, name="sum")[0]) + 10 * hvd.size()

    assert experiment.allreduce(training, ranks=2).metric == 23.0


@pytest.mark.horovod
def test_the_seed_s_notebook(tmp_path: Path) -> None:
    """Its magic commands are passed over, what is beside it can be imported, and it may leave a metric."""
    (tmp_path / "Jupyter").mkdir()
    (tmp_path / "Jupyter" / "helper.py").write_text("BASE = 40\n")
    path = notebook(
        tmp_path / "Jupyter" / "horovod.ipynb",
        "%matplotlib inline\nimport helper",
        f"{RANK}\n!echo from the shell\nopen(f'ran{{rank}}', 'w').close()",
        "assert __name__ == '__main__' and os.environ['TENSORBOARD_LOGDIR']\nmetric = helper.BASE + size",
    )
    found = allreduce.launch(spark, str(path), ranks=2, library="torch")
    assert found.metric == 42.0
    assert sorted(path.name for path in tmp_path.glob("ran*")) == ["ran0", "ran1"]


def test_parameter_servers_are_told_who_they_are(tmp_path: Path) -> None:
    def training() -> None:
        import json
        import os
        import time

        from hpcsearch import util

        role = json.loads(os.environ["TF_CONFIG"])["task"]
        Path(tmp_path, f"{role['type']}{role['index']} {util.num_param_servers()} {util.num_executors()}").touch()
        end = time.monotonic() + 60  # servers end with the workers: one that begins late would write nothing
        while role["type"] != "ps" and not list(tmp_path.glob("ps*")) and time.monotonic() < end:
            time.sleep(0.05)

    experiment.parameter_server(spark, training, num_ps=1)
    assert sorted(path.name for path in tmp_path.glob("* *")) == ["chief0 1 3", "ps0 1 3", "worker0 1 3"]


@pytest.mark.horovod
def test_one_rank_that_fails_fails_the_run() -> None:
    def training() -> None:
        import hpcsearch

        if hpcsearch.world().rank == 1:
            raise ValueError("the second one")

    with pytest.raises(HpcsearchError, match="the second one"):
        experiment.allreduce(training, ranks=2, library="torch")


def nothing() -> None:
    """Never called."""


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: experiment.allreduce("none.ipynb"), "There is no file "),
        (lambda: experiment.allreduce("data.csv"), "data.csv is neither a notebook nor a program"),
        (lambda: experiment.allreduce("broken.ipynb"), "broken.ipynb is no notebook: "),
        (lambda: experiment.allreduce("broken.py"), "broken.py is no Python: "),
        (lambda: experiment.allreduce(nothing, ranks=3, nodes=2), "3 ranks cannot be shared evenly by 2 nodes"),
        (lambda: experiment.allreduce(nothing, ranks=0), "ranks=0 makes no sense"),
        (lambda: experiment.parameter_server(nothing, num_ps=2, ranks=2), "Of 2 ranks 2 cannot be parameter servers"),
        (lambda: experiment.allreduce(nothing, ranks=2, library="nccl"), "nccl"),
        (lambda: experiment.allreduce(lambda x: x, ranks=2), "cannot be called with no arguments"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "broken.py").write_text("def :")
    with pytest.raises(HpcsearchError) as caught:
        call()
    assert sentence in caught.value.message and not (tmp_path / "workflows").exists()


def test_a_program_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("metric = 3\n")
    program = program_of("train.py")
    assert program.text == "metric = 3\n" and program.__name__ == "train.py"
