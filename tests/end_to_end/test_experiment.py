"""Experiments on this machine: every example of the seeds as it was written, and what the originals got wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import devices, experiment
from hpcsearch.errors import HpcsearchError, UsageError
from hpcsearch.evaluation import State
from hpcsearch.workflow import open_workflow


class SparkSession:
    """What a notebook of the time had made before its first cell: a thing that no experiment may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the session was asked for {name}")


pytestmark = pytest.mark.usefixtures("own_folder")

spark = SparkSession()


def test_the_seed_s_grid_search(capsys: pytest.CaptureFixture[str]) -> None:
    args_dict = {"learning_rate": [0.001, 0.0005, 0.0001], "dropout": [0.45, 0.7]}

    def training(learning_rate, dropout):  # type: ignore[no-untyped-def]
        return 1000 * learning_rate + dropout

    found = experiment.grid_search(spark, training, args_dict, direction="max")
    assert [list(one.config.items()) for one in found.evaluations] == [
        [("learning_rate", rate), ("dropout", dropout)] for rate in (0.001, 0.0005, 0.0001) for dropout in (0.45, 0.7)
    ]
    assert found.best == {"learning_rate": 0.001, "dropout": 0.7} and found.metric == pytest.approx(1.7)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"Grid search: 6 evaluations, {min(6, cores())} at once, in {found.logdir}"
    assert printed[-5:-1] == [
        "------ Grid search results ------ direction(max)",
        "BEST combination learning_rate=0.001, dropout=0.7 -- metric 1.7",
        "WORST combination learning_rate=0.0001, dropout=0.45 -- metric 0.55",
        "AVERAGE metric -- 1.10833",
    ]
    assert printed[-1].startswith("Total job time 0 hours, 0 minutes, ")
    assert Path(found.logdir, "summary").read_text().splitlines() == printed[-5:]


def cores() -> int:
    return len(os.sched_getaffinity(0))


def test_the_seed_s_evolutionary_search() -> None:
    """Its bounds are written the wrong way round."""
    search_dict = {"learning_rate": [0.001, 0.0001], "dropout": [0.45, 0.7]}

    def training(learning_rate, dropout):  # type: ignore[no-untyped-def]
        metric = -abs(learning_rate - 0.0005) - abs(dropout - 0.5)
        return metric  # noqa: RET504 - as it was written

    found = experiment.evolutionary_search(spark, training, search_dict, direction="max", generations=2, popsize=5)
    assert len(found.evaluations) == 10
    rates = {one.config["learning_rate"] for one in found.evaluations}
    assert len(rates) == 10 and all(0.0001 <= rate <= 0.001 for rate in rates)
    logdir, best = found
    assert logdir == found.logdir == os.fspath(found) and isinstance(best["learning_rate"], float)


def test_the_seed_s_launch_with_and_without_arguments(tmp_path: Path) -> None:
    def wrapper() -> None:
        Path(tmp_path, "ran").touch()

    root_tensorboard_logdir = experiment.launch(spark, wrapper)
    assert (tmp_path / "ran").exists() and os.listdir(root_tensorboard_logdir)
    assert root_tensorboard_logdir.best is None and root_tensorboard_logdir.metric is None
    assert [one.objective for one in root_tensorboard_logdir.evaluations] == [None]

    def training_fun(a: int, b: int) -> str:
        return f"{a}{b}"

    found = experiment.launch(spark, training_fun, {"a": [1, 2], "b": [5, 3]})
    assert [one.metadata["returned"] for one in found.evaluations] == ["15", "23"]


def test_what_the_seeds_call_in_their_training_code(tmp_path: Path) -> None:
    """The root path, a copy of the data, a log entry, the log directory, the number of GPUs; names adapted."""
    (tmp_path / "Resources").mkdir()
    (tmp_path / "Resources" / "train.tfrecords").write_bytes(b"records")

    def training(learning_rate, dropout):  # type: ignore[no-untyped-def]
        import hpcsearch
        from hpcsearch import data, devices, tensorboard

        project_root_path = data.project_path()
        tfrecords_dataset = project_root_path + "Resources/train.tfrecords"
        local = data.copy_to_local("Resources/train.tfrecords", "")
        hpcsearch.log("Some string")
        logdir = tensorboard.logdir()
        num_gpus = devices.get_num_gpus()
        Path(logdir, "events").touch()
        return {
            "objective": 1.0,
            "same": Path(tfrecords_dataset).read_bytes() == Path(local).read_bytes() != b"",
            "logdir": logdir,
            "gpus": num_gpus,
        }

    found = experiment.launch(spark, training, {"learning_rate": [0.001], "dropout": [0.45]})
    (only,) = found.evaluations
    assert only.metadata["same"] is True and only.metadata["gpus"] == devices.get_num_gpus()
    assert only.metadata["logdir"].startswith(found.logdir) and "learning_rate" in Path(only.metadata["logdir"]).name
    assert (found.workflow.directory / "evaluations" / "1" / "log").read_text().endswith("Some string\n")


def test_a_launch_may_have_a_metric(capsys: pytest.CaptureFixture[str]) -> None:
    found = experiment.launch(lambda x: x or None, {"x": [0, 3, 2]}, direction="min", name="mixed names!")
    assert (found.best, found.metric) == ({"x": 2}, 2.0)
    assert Path(found.logdir).name == "mixed-names"
    assert "1 evaluation returned no metric." in capsys.readouterr().out


def test_a_metric_of_zero_counts() -> None:
    """The original took 0.0 for none."""
    found = experiment.grid_search(lambda x: float(x), {"x": [-1, 0]}, direction="max")
    assert (found.best, found.metric) == ({"x": 0}, 0.0)


def test_random_search_runs_as_many_as_it_was_told() -> None:
    """The original drew doubles, and left them out."""

    def training(units: int, activation: str) -> int:
        assert type(units) is int
        return units

    bounds = {"units": [4, 1], "activation": ["relu", "tanh", "gelu"]}
    found = experiment.random_search(training, bounds, "max", samples=12)
    assert {tuple(one.config.values()) for one in found.evaluations} == {
        (units, name) for units in (1, 2, 3, 4) for name in ("relu", "tanh", "gelu")
    }
    assert found.best is not None and found.best["units"] == 4


def test_one_that_fails_does_not_end_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """In the original all were lost with it."""

    def training(x: int) -> float:
        if x == 2:
            raise ValueError("diverged")
        return float("nan") if x == 3 else x

    found = experiment.grid_search(training, {"x": [1, 2, 3, 4]})
    assert [one.state for one in found.evaluations] == [State.FINISHED, State.FAILED, State.FAILED, State.FINISHED]
    assert found.best == {"x": 4}
    assert "2 evaluations gave no result. The first one said: ValueError: diverged\n" in capsys.readouterr().out


def test_where_all_fail_the_experiment_fails() -> None:
    with pytest.raises(HpcsearchError, match=r"None of the 2 evaluations of 'grid-search' has finished.*ZeroDivision"):
        experiment.grid_search(lambda x: x / 0, {"x": [1, 2]})


def test_values_that_are_no_hyperparameters_arrive_as_they_are() -> None:
    def training(layers: Any, weight: Any) -> int:
        return len(layers) + (weight is None)

    found = experiment.grid_search(training, {"layers": [(64,), (64, 32)], "weight": [None, "balanced"]})
    assert found.best == {"layers": (64, 32), "weight": None} and found.metric == 3.0


def test_a_handle_is_the_result_to_be() -> None:
    begun = experiment.launch(lambda x: x, {"x": [1, 2]}, wait=False)
    assert begun.wait() is begun and begun.done()
    assert begun.metric == 2.0
    assert open_workflow(begun.logdir).counts() == {State.FINISHED: 2}


def test_one_that_is_cancelled_ends(tmp_path: Path) -> None:
    def training(x: int) -> None:
        Path(tmp_path, f"began{x}").touch()
        threading.Event().wait()

    begun = experiment.launch(training, {"x": [1]}, wait=False)
    while not (tmp_path / "began1").exists():
        assert not begun.done()
    begun.cancel()
    begun.submitted.wait()
    assert begun.best is None and "<Launch in " in repr(begun)


def test_experiments_of_other_threads_do_not_disturb(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(experiment.launch(lambda x: x, {"x": [5]}))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Path(one.logdir).name for one in found) == ["launch", "launch-2"]
    assert [one.metric for one in found] == [5.0, 5.0]


def test_a_place_is_for_a_block_or_for_one_call() -> None:
    here = experiment.on(site="local", seed=3, evals_per_node=1, root="elsewhere")
    with here:
        inside = experiment.random_search(lambda x: x, {"x": [0.0, 1.0]}, samples=3)
    again = here.random_search(lambda x: x, {"x": [0.0, 1.0]}, samples=3)
    other = experiment.random_search(lambda x: x, {"x": [0.0, 1.0]}, samples=3, seed=4)
    assert Path(inside.logdir).parent.name == Path(again.logdir).parent.name == "elsewhere"
    assert [one.config for one in inside.evaluations] == [one.config for one in again.evaluations]
    assert [one.config for one in inside.evaluations] != [one.config for one in other.evaluations]
    assert Path(other.logdir).parent.name == "workflows"


def test_old_options_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    experiment.launch(spark, lambda: 1, name="no-name", local_logdir=False, versioned_resources=None, description="x")
    printed = capsys.readouterr().out
    assert "launch: local_logdir means nothing here.\n" in printed and "/workflows/launch\n" in printed


LOCK = threading.Lock()


def needs_a(a: int) -> int:
    return a


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: experiment.grid_search(needs_a, {"a": [1]}, direction="up"),
            "Invalid direction 'up', must be max or min",
        ),
        (lambda: experiment.grid_search(needs_a, {"b": [1]}), "needs_a(a) cannot be called with b"),
        (lambda: experiment.launch(needs_a), "cannot be called with no arguments"),
        (lambda: experiment.grid_search("needs_a", {"a": [1]}), "'needs_a' is no function"),
        (lambda: experiment.random_search(needs_a, {"a": [1, 2]}, sample=3), "'sample'; did you mean 'samples'?"),
        (lambda: experiment.random_search(needs_a, {"a": [1, 2]}, samples=0), "samples=0 makes no sense"),
        (
            lambda: experiment.differential_evolution(needs_a, {"a": [1, 2]}, population=3),
            "population=3 makes no sense",
        ),
        (lambda: experiment.on(node=3), "There is no option 'node'; did you mean 'nodes'?"),
        (lambda: experiment.on(site="slurm").launch(needs_a, {"a": [1]}), "An allocation needs a queue"),
        (lambda: experiment.launch(needs_a, {"a": [1]}, walltime="soon"), "'soon' is no walltime"),
        (lambda: experiment.launch(needs_a, {"a": [threading.Lock()]}), "cannot pickle"),
        (lambda: experiment.launch(lambda: LOCK.locked()), "cannot be sent to other processes: cannot pickle"),
        (lambda: experiment.launch(lambda id: id, {"id": [1]}), "'id' cannot be the name of a hyperparameter"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(call: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(HpcsearchError) as caught:
        call()
    assert sentence in caught.value.message and not list(tmp_path.iterdir())


def test_a_call_in_a_module_that_is_imported_for_its_function_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trains.py").write_text(
        textwrap.dedent("""
        from hpcsearch import experiment
        def training(x):
            return x
        experiment.launch(training, {"x": [1]})
        """)
    )
    done = python("import trains", tmp_path)
    assert "An experiment was begun while the module with its function was imported." in done.stderr


def python(code: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_script_s_own_functions_and_modules(tmp_path: Path) -> None:
    """The function is in __main__, and uses another one there, a module beside the script, and a global."""
    (tmp_path / "beside.py").write_text("OFFSET = 10\n")
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
        import functools
        from hpcsearch import experiment
        import beside
        SCALE = 2
        @functools.lru_cache(maxsize=3)
        def doubled(x):
            return SCALE * x
        def training(x):
            return doubled(x) + beside.OFFSET
        print(experiment.launch(training, {"x": [1, 2]}).metric)
        """)
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "14.0"


def test_the_front_door_costs_nothing_until_it_is_used() -> None:
    code = (
        "import sys; from hpcsearch import experiment; print(*(name for name in sys.modules if 'hpcsearch' in name))\n"
        "import hpcsearch; assert hpcsearch.experiment is experiment and 'launch' in dir(experiment)\n"
        "try: experiment.lunch\nexcept AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "hpcsearch hpcsearch.experiment",
        "module 'hpcsearch.experiment' has no attribute 'lunch'",
    ]


def test_an_unknown_name_of_a_place_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match="no option"), experiment.on(sites="slurm"):
        raise AssertionError
