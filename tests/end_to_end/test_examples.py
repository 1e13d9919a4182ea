from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hpcsearch
from hpcsearch.problem import HpProblem
from hpcsearch.runfunction import Reference, as_run_function, load

EXAMPLES = Path(__file__).parents[2] / "examples"

SHAPES = """\
train_X shape: (8000, 10)
train_y shape: (8000, 1)
valid_X shape: (2000, 10)
valid_y shape: (2000, 1)
"""

# In a process of its own, as a slot would: load the files, run one configuration, tell the objective and the metadata.
EVALUATE = """
import json, sys
from hpcsearch.runfunction import Reference, as_run_function, load, normalise
run = as_run_function(load(Reference.parse(sys.argv[1], "run", ".")))
result = normalise(run(json.loads(sys.argv[2])))
print(json.dumps([result.objective, result.metadata]))
"""


@pytest.fixture(autouse=True)
def own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def evaluate(example: str, configuration: dict[str, object]) -> tuple[float, dict[str, object]]:
    command = [sys.executable, "-c", EVALUATE, str(EXAMPLES / example / "model_run.py"), json.dumps(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=EXAMPLES.parent, check=False)
    assert done.returncode == 0, done.stderr
    objective, metadata = json.loads(done.stdout.splitlines()[-1])
    return objective, metadata


def script(name: str) -> str:
    command = [sys.executable, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=EXAMPLES / "polynome2", check=True)
    return done.stdout


def test_polynome2_data_shapes_are_printed() -> None:
    assert script("load_data.py") == SHAPES


def test_polynome2_data_are_what_the_tutorial_says(capsys: pytest.CaptureFixture[str]) -> None:
    load_data = load(Reference.parse(str(EXAMPLES / "polynome2/load_data.py:load_data"), "run", EXAMPLES))
    (train_X, train_y), (valid_X, valid_y) = load_data()
    assert capsys.readouterr().out == SHAPES
    assert (-(valid_X**2).sum(axis=1) == valid_y[:, 0]).all()
    assert train_X.min() >= -50 and train_X.max() < 50
    assert not (train_X[:2000] == valid_X).any()
    assert (load_data()[0][1] == train_y).all()


def test_polynome2_baseline_is_poor() -> None:
    last_line = script("default_config.py").splitlines()[-1]
    assert last_line.startswith("objective: ")
    assert -0.2 < float(last_line.removeprefix("objective: ")) < 0.1


def test_polynome2_a_good_configuration_reaches_the_goal() -> None:
    objective, _ = evaluate("polynome2", {"units": 62, "activation": "tanh", "lr": 0.0305})
    assert 0.97 < objective < 1


def test_digits_learns_with_and_without_the_conditional_hyperparameter() -> None:
    config = {"units": 32, "activation": "relu", "lr": 0.005, "batch_size": 64}
    objective, metadata = evaluate("digits", {**config, "solver": "adam"})
    assert 0.9 < objective <= 1
    assert set(metadata) == {"training_loss"}
    slow, _ = evaluate("digits", {**config, "lr": 1e-4, "solver": "sgd", "momentum": 0.0})
    assert slow < objective


@pytest.mark.parametrize("example", ["polynome2", "digits"])
def test_problem_and_run_function_load_as_files(example: str) -> None:
    problem = load(Reference.parse(f"{example}/problem.py", "Problem", EXAMPLES))
    assert isinstance(problem, HpProblem)
    assert len(problem.starting_points) == 1
    run = load(Reference.parse(f"{example}/model_run.py", "run", EXAMPLES))
    assert as_run_function(run, problem.names) is run


def test_digits_has_mixed_and_conditional_hyperparameters() -> None:
    text = str(load(Reference.parse("digits/problem.py", "Problem", EXAMPLES)))
    for part in (
        "UniformInteger",
        "UniformFloat",
        "Categorical",
        "Ordinal",
        "on log-scale",
        "momentum | solver == 'sgd'",
    ):
        assert part in text


def test_a_script_in_the_style_of_keras_runs_without_change(tmp_path: Path) -> None:
    folder = tmp_path / "keras_like"
    shutil.copytree(EXAMPLES / "keras_like", folder)
    command = [sys.executable, "-m", "hpcsearch.cli", "submit", "script", "digits"]
    options = ["-n", "1", "-t", "10", "-q", "local", "--hyperparam", "lr=0.01:0.05:0.06"]
    metric = ["--metric", "val_loss:min", "--metric-file", "training.csv", "--wait"]
    done = subprocess.run(
        [*command, *options, *metric, "train_digits.py", "3"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    by_rate = {record.config["lr"]: record for record in hpcsearch.open_workflow(folder / "workflows/digits").records()}
    slow, fast = by_rate[0.01].objective, by_rate[0.06].objective
    assert slow is not None and fast is not None and 0 < fast < slow
    assert [report.step for report in by_rate[0.06].reports] == [0, 1, 2]
