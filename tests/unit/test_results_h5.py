"""results.h5: what docs/results.rst says of it holds, whatever the values are."""

from __future__ import annotations

import json
import re
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_bed import BEGIN_AT, CONFIGURATIONS, make

from hpcsearch import arrays
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results import h5_file
from hpcsearch.workflow.results.datasets import add_column
from hpcsearch.workflow.results.h5_file import write_file, write_results_h5
from hpcsearch.workflow.results.table import read_table

DOCS = (Path(__file__).parents[2] / "docs" / "results.rst").read_text(encoding="utf-8")
NAN = np.nan


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make(tmp_path / "workflows")


def values(file: h5py.File, name: str) -> list[Any]:
    dataset = file[name]
    found: list[Any] = (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[:].tolist()
    return found


def test_every_dataset_has_the_values_of_the_database(layout: Layout) -> None:
    write_results_h5(layout)
    with h5py.File(layout.arrays) as file:
        assert dict(file.attrs) | {"created": ""} == {
            "layout": 1,
            "name": "poly",
            "search": "random",
            "problem": "problem.py:Problem",
            "run": "model_run.py:run",
            "created": "",
        }
        for name, expected in {
            "ids": [1, 2, 3, 4],
            "states": ["FINISHED", "FAILED", "FINISHED", "PROPOSED"],
            "errors": ["", "ValueError", "", ""],
            "objectives/objective": [0.25, NAN, 0.75, NAN],
            "times/started": [BEGIN_AT + 1, BEGIN_AT + 2, BEGIN_AT + 3, NAN],
            "times/ended": [BEGIN_AT + 1.5, BEGIN_AT + 2.5, BEGIN_AT + 3.5, NAN],
            "times/gathered": [BEGIN_AT + 2, BEGIN_AT + 3, BEGIN_AT + 4, NAN],
            "times/elapsed": [2.0, 3.0, 4.0, NAN],
            "times/duration": [0.5, 0.5, 0.5, NAN],
            "nodes": ["n1", "n1", "n1", ""],
            "slots": [0, 0, 0, -1],
            "allocations": [1, 1, 1, -1],
            "attempts": [1, 1, 1, 0],
            "configurations/activation": ["relu", "tanh", "relu", "tanh"],
            "configurations/bias": [True, False, True, True],
            "configurations/depth": [3.0, NAN, 1.0, NAN],
            "configurations/lr": [0.1, 1e-7, 1.0, 0.5],
            "configurations/mode": ["1", '"auto"', "0.5", "true"],
            "configurations/units": [10, 20, 30, 40],
            "active/depth": [True, False, True, False],
            "metadata/accuracy": [0.5, NAN, 1.0, NAN],
            "metadata/note": ["a", "", "", ""],
            "metadata/sizes": ["", "", "[1, 2]", ""],
            "reports/evaluation": [1, 3, 3],
            "reports/attempt": [1, 1, 1],
            "reports/step": [NAN, 1.0, 2.0],
            "reports/at": [BEGIN_AT + 9] * 3,
            "reports/metrics/loss": [2.0, 1.0, 0.5],
            "reports/metrics/epoch": [NAN, 1.0, 2.0],
        }.items():
            np.testing.assert_equal(values(file, name), expected, err_msg=name)
        assert list(file["active"]) == ["depth"]


def test_every_dataset_is_chunked_compressed_and_documented(layout: Layout) -> None:
    write_results_h5(layout)
    seen: list[str] = []

    def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            seen.append(name)
            assert item.chunks and item.compression == "gzip", name
            folder, _, last = name.rpartition("/")
            known = {f"``{name}``", f"``{folder}/<name>``"} if folder else {f"``{name}``"}
            assert any(word in DOCS for word in known), name
            assert folder != "times" or (item.attrs["units"] and f"``{last}``" in DOCS), name

    with h5py.File(layout.arrays) as file:
        file.visititems(look)
        assert file["times/duration"].attrs["units"] == "s"
        assert "1970" in file["reports/at"].attrs["units"]
        assert file["objectives/objective"].attrs["sense"] == "maximize"
        kinds = {name: dataset.attrs["kind"] for name, dataset in file["configurations"].items()}
    assert len(seen) > 20
    assert kinds == {
        "activation": "text",
        "bias": "boolean",
        "depth": "integer",
        "lr": "number",
        "mode": "mixed",
        "units": "integer",
    }


def test_the_sense_of_a_problem_that_minimises(tmp_path: Path) -> None:
    layout = make(tmp_path, minimize=True)
    write_results_h5(layout)
    with h5py.File(layout.arrays) as file:
        assert file["objectives/objective"].attrs["sense"] == "minimize"


def test_the_lines_in_the_docs_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results_h5(make(tmp_path / "workflows"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", DOCS, re.MULTILINE)
    three, curve = (textwrap.dedent(block) for block in blocks if "h5py.File" in block)
    assert len(three.strip().splitlines()) == 2 + 3  # the import and a line between
    found: dict[str, Any] = {}
    exec(three, found)
    assert found["lr"].tolist() == [0.1, 1e-7, 1.0, 0.5]
    np.testing.assert_equal(found["objective"].tolist(), [0.25, NAN, 0.75, NAN])
    assert found["states"].tolist() == ["FINISHED", "FAILED", "FINISHED", "PROPOSED"]
    exec(curve, found)
    assert found["losses"].tolist() == [2.0]


def test_a_workflow_without_any_evaluation(tmp_path: Path) -> None:
    layout = make(tmp_path, (), (), ())
    write_results_h5(layout)
    with h5py.File(layout.arrays) as file:
        assert file["ids"].shape == file["states"].shape == file["reports/step"].shape == (0,)
        assert len(file["configurations"]) == 0


def test_arrays_are_linked_and_stay_so_when_the_workflow_moves(layout: Layout, tmp_path: Path) -> None:
    for identity in (1, 3):
        layout.evaluation(identity).mkdir(parents=True)
        arrays.save(layout.evaluation(identity), "curve", [identity, 0.5])
    write_results_h5(layout)
    moved = layout.root.rename(tmp_path / "elsewhere")
    with h5py.File(moved / "results.h5") as file:
        assert sorted(file["arrays/curve"]) == ["1", "3"]
        assert file["arrays/curve/3"][:].tolist() == [3.0, 0.5]
        assert file["arrays/curve"].get("3", getlink=True).filename == "evaluations/3/arrays/curve.h5"


def test_arrays_are_copied_where_links_would_lead_nowhere(layout: Layout, tmp_path: Path) -> None:
    for identity in (1, 3):
        layout.evaluation(identity).mkdir(parents=True)
        arrays.save(layout.evaluation(identity), "curve", [identity, 0.5])
    write_file(tmp_path / "best.h5", layout, read_table(layout.database, top=1), linked=False)
    layout.root.rename(tmp_path / "elsewhere")
    with h5py.File(tmp_path / "best.h5") as file:
        assert list(file["arrays/curve"]) == ["3"]  # the best one alone
        assert file["arrays/curve/3"][:].tolist() == [3.0, 0.5]
        assert set(values(file, "reports/evaluation")) == {3}


def test_a_file_that_cannot_be_finished_leaves_the_old_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results_h5(layout)
    before = layout.arrays.read_bytes(), sorted(layout.root.iterdir())

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(h5_file, "_add_arrays", full)
    with pytest.raises(OSError, match="no space"):
        write_results_h5(layout)
    assert (layout.arrays.read_bytes(), sorted(layout.root.iterdir())) == before


def test_names_that_hdf5_cannot_have(tmp_path: Path) -> None:
    names = ["a/b", "a", ".", "50%", "a%2Fb", "ü\0"]
    layout = make(tmp_path, [dict.fromkeys(names, 1)], (), ())
    write_results_h5(layout)
    with h5py.File(layout.arrays) as file:
        group = file["configurations"]
        assert sorted(dataset.attrs["name"] for dataset in group.values()) == sorted([*names[:-1], "ü\\x00"])
        assert group["a%2Fb"][:].tolist() == [1]


CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.text(st.characters(codec="utf-8"), min_size=300, max_size=310)
    | st.lists(st.integers(), max_size=2)
)


@given(st.lists(CELLS, max_size=6))
def test_a_column_of_anything_can_be_written_and_tells_its_kind(cells: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "file.h5", "w") as file:
        dataset = add_column(file, "column", cells)
        assert dataset.shape == (len(cells),)
        for cell, value in zip(cells, values(file, "column"), strict=True):
            match dataset.attrs["kind"], cell:
                case (("text" | "mixed"), None):
                    assert value == ""
                case _, None:
                    assert np.isnan(value)
                case "text", text:
                    assert value == text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
                case "mixed", anything:
                    assert json.loads(value) == anything
                case _, number:
                    assert float(value) == float(number)


def test_the_configurations_of_the_bed_are_of_every_kind() -> None:
    assert {type(value) for one in CONFIGURATIONS for value in one.values()} == {str, bool, int, float}


def test_what_a_killed_writer_left_goes(layout: Layout) -> None:
    (layout.root / ".results.h5.0123abcd").write_text("half a")
    write_results_h5(layout)
    assert not list(layout.root.glob(".results*"))
