"""A workflow read back from its results.h5: with the same answers as from its database."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_bed import make

import hpcsearch
from hpcsearch import arrays
from hpcsearch.errors import DatabaseError, NotFoundError, SchemaVersionError
from hpcsearch.workflow.archive import Archive
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.h5_file import write_results_h5
from hpcsearch.workflow.workflow import Record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = make(tmp_path / "workflows")
    made.evaluation(3).mkdir(parents=True)
    arrays.save(made.evaluation(3), "weights", [1.0, 2.0])
    arrays.save(made.evaluation(3), "words", ["a", "b"])
    write_results_h5(made)
    return made


def without_traceback(record: Record) -> Record:
    failure = record.failure
    return replace(record, failure=failure and replace(failure, traceback=""))


def test_it_tells_the_same_as_the_database(layout: Layout, tmp_path: Path) -> None:
    live, archive = hpcsearch.open_workflow(layout.root), hpcsearch.open_workflow(layout.arrays)
    assert isinstance(archive, Archive)
    assert archive.records() == [without_traceback(record) for record in live.records()]
    assert (archive.name, archive.counts(), archive.best(3)) == ("poly", live.counts(), live.best(3))
    assert archive.evaluation(2) == without_traceback(live.evaluation(2))
    pd.testing.assert_frame_equal(archive.evaluations(), live.evaluations())
    pd.testing.assert_frame_equal(archive.reports(), live.reports())
    assert archive.arrays(3) == ["weights", "words"] and archive.arrays(1) == []
    assert archive.array(3, "weights").tolist() == [1.0, 2.0]
    assert archive.array(3, "words").tolist() == ["a", "b"]


def test_a_folder_whose_database_is_gone_is_opened_from_the_file(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = hpcsearch.open_workflow(layout.root).best()
    layout.database.unlink()
    assert hpcsearch.open_workflow(layout.root).best() == best
    assert hpcsearch.open_workflow("poly", root=layout.root.parent).best() == best
    monkeypatch.chdir(layout.root)
    assert hpcsearch.open_workflow("results.h5").best() == best


def test_a_copy_alone_has_all_but_the_arrays_and_says_so(layout: Layout, tmp_path: Path) -> None:
    copy = shutil.copy(layout.arrays, tmp_path / "copy.h5")
    archive = hpcsearch.open_workflow(copy)
    assert len(archive.records()) == 4
    with pytest.raises(NotFoundError, match="link to its file"):
        archive.array(3, "weights")
    with pytest.raises(NotFoundError, match=r"no array 'biases' \(arrays there: weights, words\)"):
        archive.array(3, "biases")
    with pytest.raises(NotFoundError, match="has no evaluation 9; it has 1 to 4"):
        archive.evaluation(9)


def test_a_file_of_another_sort_is_a_sentence(layout: Layout, tmp_path: Path) -> None:
    (noise := tmp_path / "noise.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(DatabaseError, match="cannot be read as results"):
        hpcsearch.open_workflow(noise)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros(3)
    with pytest.raises(DatabaseError, match="cannot be read as results"):
        hpcsearch.open_workflow(tmp_path / "other.h5")
    with h5py.File(layout.arrays, "a") as newer:
        newer.attrs["layout"] = 99
    with pytest.raises(SchemaVersionError, match="layout 99"):
        hpcsearch.open_workflow(layout.arrays)
    with pytest.raises(NotFoundError, match="There is no workflow"):
        hpcsearch.open_workflow(tmp_path / "nothing.h5")


VALUES = st.one_of(
    st.integers(-(2**53), 2**53),  # what floats hold, where a value is missing
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
)


@given(
    st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "b/c": st.booleans(), "d": st.text("xy")}), min_size=1)
)
def test_configurations_come_back_whatever_they_hold(configurations: list[dict[str, Any]]) -> None:
    # What is of one type comes back as it was; whole numbers among floats are floats, as in all columns.
    outcomes = [{"objective": float(number)} for number in range(len(configurations))]
    with tempfile.TemporaryDirectory() as folder:
        layout = make(Path(folder), configurations, outcomes, ())
        write_results_h5(layout)
        read = [record.config for record in hpcsearch.open_workflow(layout.arrays).records()]
    assert read == configurations


def test_a_notebook_shows_how_it_stands(layout: Layout) -> None:
    for opened in (hpcsearch.open_workflow(layout.root), hpcsearch.open_workflow(layout.arrays)):
        html = opened._repr_html_()
        assert "<b>Workflow poly</b>" in html and "1 PROPOSED, 2 FINISHED, 1 FAILED" in html
        assert "<th>activation</th>" in html and "<td>0.75</td>" in html


def test_a_notebook_shows_what_is_in_the_way_and_runs_none_of_it(tmp_path: Path) -> None:
    layout = make(tmp_path / "<b>", [{"x": "<script>alert(1)</script>"}], [{"objective": 1.0}], ())
    opened = hpcsearch.open_workflow(layout.root)
    assert "<script" not in opened._repr_html_() and "&lt;script&gt;" in opened._repr_html_()
    layout.database.write_bytes(b"torn")
    assert "cannot be read" in opened._repr_html_() and "<b>/poly" not in opened._repr_html_()
