"""Results as a pandas DataFrame, and without pandas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from results_bed import BEGIN_AT, make

import hpcsearch
from hpcsearch.workflow import workflow as module
from hpcsearch.workflow.results import table
from hpcsearch.workflow.results.csv_file import FIXED_COLUMNS


def test_a_frame_has_the_columns_of_results_csv_in_their_own_types(tmp_path: Path) -> None:
    frame = hpcsearch.open_workflow(make(tmp_path).root).evaluations()
    assert list(frame.columns) == ["activation", "bias", "depth", "lr", "mode", "units", *FIXED_COLUMNS]
    types = {name: str(frame[name].dtype) for name in frame.columns}
    assert {name: types[name] for name in ("bias", "depth", "lr", "mode", "units", "id", "objective")} == {
        "bias": "bool",
        "depth": "Int64",  # inactive here and there
        "lr": "float64",
        "mode": "object",  # of several types
        "units": "int64",
        "id": "int64",
        "objective": "float64",
    }
    assert pd.api.types.is_string_dtype(frame["activation"])
    assert types["start"].endswith("UTC]")
    assert frame["mode"].tolist() == [1, "auto", 0.5, True]
    assert frame["depth"].isna().tolist() == [False, True, False, True]
    assert frame.loc[frame["objective"].idxmax(), "id"] == 3
    assert frame["start"][0] == pd.Timestamp(BEGIN_AT + 1, unit="s", tz="UTC")
    assert frame["start"].isna().tolist() == [False, False, False, True]


def test_truth_values_that_are_missing(tmp_path: Path) -> None:
    frame = hpcsearch.open_workflow(make(tmp_path, [{"x": True}, {"y": 1}], ()).root).evaluations()
    assert (str(frame["x"].dtype), frame["x"].isna().tolist()) == ("boolean", [False, True])


def test_a_frame_of_nothing(tmp_path: Path) -> None:
    frame = hpcsearch.open_workflow(make(tmp_path, (), (), ()).root).evaluations()
    assert len(frame) == 0 and list(frame.columns) == list(FIXED_COLUMNS)


def test_pages_hold_each_evaluation_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_PAGE", 3)
    configurations = [{"x": number} if number % 2 else {"y": number} for number in range(1, 8)]
    frame = hpcsearch.open_workflow(make(tmp_path, configurations, ()).root).evaluations()
    assert frame["id"].tolist() == list(range(1, 8))
    assert frame["x"].fillna(frame["y"]).tolist() == list(range(1, 8))


def test_without_pandas_it_is_the_list_of_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = hpcsearch.open_workflow(make(tmp_path).root)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert workflow.evaluations() == workflow.records()
    assert [record.id for record in workflow.records()] == [1, 2, 3, 4]


def test_repr_tells_how_it_stands(tmp_path: Path) -> None:
    layout = make(tmp_path)
    workflow = hpcsearch.open_workflow(layout.root)
    text = repr(workflow)
    assert text.startswith(f"<Workflow 'poly' in {layout.root}: ")
    assert "2 FINISHED" in text and "1 FAILED" in text and "; best 0.75 (evaluation 3)>" in text
    layout.database.write_bytes(b"no database at all, but long enough to be looked at")
    assert "cannot be read" in repr(workflow)
