"""Arrays that run functions save: in the evaluation's own directory, whole, and linked into results.h5."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from results_bed import make

import hpcsearch
from hpcsearch import arrays
from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.errors import NotFoundError, UsageError
from hpcsearch.worker import context


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of the evaluation 7, which is at hand meanwhile."""
    before = context._Context.current, context._Context.reporter
    folder = tmp_path / "evaluations" / "7"
    context.enter(context.CurrentEvaluation(7, 1, 0, {}, str(folder)), lambda *_: None)
    yield folder
    context._Context.current, context._Context.reporter = before


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([[True, False]]),
        np.float32(0.5),
        [1, 2, 3],
        3,
        [],
        np.array([1 + 2j]),
        ["naïve", "b"],
        np.array([b"raw", b"by"]),
    ],
    ids=repr,
)
def test_an_array_comes_back_as_it_was(directory: Path, array: Any) -> None:
    hpcsearch.save_array("it", array)
    expected, found = np.asarray(array), arrays.read(directory, "it")
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tolist() == expected.tolist()
    assert [path.name for path in (directory / "arrays").iterdir()] == ["it.h5"]


def test_the_last_one_wins_and_others_stay(directory: Path) -> None:
    for number in range(3):
        hpcsearch.save_array("last", [number])
        hpcsearch.save_array(f"of-{number}.x", [number])
    assert arrays.read(directory, "last").tolist() == [2]
    assert arrays.names(directory) == ["last", "of-0.x", "of-1.x", "of-2.x"]
    assert list(arrays.saved(directory.parent)) == [(7, name) for name in arrays.names(directory)]


@pytest.mark.parametrize("name", ["", ".hidden", "../other", "a/b", "a b", "x" * 101, "ü", "a\n", 7, None])
def test_a_name_that_cannot_name_a_file_is_refused(directory: Path, name: Any) -> None:
    with pytest.raises(UsageError, match="cannot be the name of an array"):
        hpcsearch.save_array(name, [1])
    assert list(directory.rglob("*")) == []


@pytest.mark.parametrize(
    "array", [{"a": 1}, [1, "a", None], [[1], [1, 2]], np.array(["2020-01-01"], dtype="M8[D]"), object()]
)
def test_what_hdf5_knows_not_is_refused_and_the_old_array_stays(directory: Path, array: Any) -> None:
    hpcsearch.save_array("it", [1.0])
    with pytest.raises(UsageError, match="The array 'it' cannot be saved"):
        hpcsearch.save_array("it", array)
    assert arrays.read(directory, "it").tolist() == [1.0]
    assert [path.name for path in (directory / "arrays").iterdir()] == ["it.h5"]


def test_a_child_that_the_run_function_forked_saves_too(directory: Path) -> None:
    hpcsearch.save_array("parent", [1])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            hpcsearch.save_array("child", [2])
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert arrays.read(directory, "child").tolist() == [2]


def test_by_hand_it_says_that_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="'curve' is not saved: no evaluation is running here"):
        hpcsearch.save_array("curve", [1.0])
    assert list(tmp_path.iterdir()) == []


def test_who_saves_nothing_imports_nothing() -> None:
    code = (
        "import sys, hpcsearch, warnings; warnings.simplefilter('ignore'); hpcsearch.save_array('a', [1]); "
        "assert not {'numpy', 'h5py', 'hpcsearch.arrays'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_arrays_of_a_workflow(tmp_path: Path) -> None:
    layout = make(tmp_path)
    layout.evaluation(3).mkdir(parents=True)
    arrays.save(layout.evaluation(3), "curve", [1.0, 0.5])
    workflow = hpcsearch.open_workflow(layout.root)
    (best,) = workflow.best()
    assert workflow.arrays(best) == workflow.arrays(3) == ["curve"]
    assert workflow.array(best, "curve").tolist() == workflow.array(3, "curve").tolist() == [1.0, 0.5]
    assert workflow.arrays(1) == []
    with pytest.raises(NotFoundError, match=r"Evaluation 3 has saved no array 'x' \(arrays there: curve\)"):
        workflow.array(3, "x")
    with pytest.raises(NotFoundError, match=r"no array 'curve' \(arrays there: none\)"):
        workflow.array(1, "curve")


PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((1, 100), "units")
"""
RUN = """\
import hpcsearch

def run(config):
    hpcsearch.save_array("curve", [0.0])
    hpcsearch.report(step=1, loss=0.5)
    hpcsearch.save_array("curve", [config["units"], 0.5])
    if hpcsearch.evaluation().id == 2:
        raise ValueError("not this one")
    return config["units"]
"""


def test_a_search_leaves_results_h5_with_the_arrays_of_all_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "problem.py").write_text(PROBLEM)
    (tmp_path / "model_run.py").write_text(RUN)
    monkeypatch.chdir(tmp_path)
    line = "submit hps poly -p problem.py -r model_run.py -n 1 -t 10 -q local -A none -j serial --search random"
    options = "--max-evals 8 --evals-per-node 2 --wait"
    assert run(hpcsearch_command, [*line.split(), *options.split()], "hpcsearch") == 0
    workflow = hpcsearch.open_workflow("poly")
    with h5py.File(workflow.directory / "results.h5") as file:
        assert sorted(map(int, file["arrays/curve"])) == file["ids"][:].tolist() == list(range(1, 9))
        for identity, units in zip(file["ids"][:], file["configurations/units"][:], strict=True):
            assert file[f"arrays/curve/{identity}"][:].tolist() == [units, 0.5]
        assert sorted(file["reports/evaluation"][:].tolist()) == list(range(1, 9))
        states = file["states"].asstr()[:].tolist()
    assert states == ["FAILED" if number == 2 else "FINISHED" for number in range(1, 9)]
    assert workflow.array(1, "curve")[0] == workflow.records()[0].config["units"]
