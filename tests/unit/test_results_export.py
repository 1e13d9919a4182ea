"""Results as files: every format has all columns in their own types, and a file is there whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import pyarrow.parquet
import pytest
import yaml
from results_bed import BEGIN_AT, CONFIGURATIONS, make

from hpcsearch.errors import UsageError
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results import export as module
from hpcsearch.workflow.results.csv_file import FIXED_COLUMNS, ResultsFile
from hpcsearch.workflow.results.export import export

NAMES = ["activation", "bias", "depth", "lr", "mode", "units"]
HEADER = [*NAMES, *FIXED_COLUMNS]

#: State, objective, elapsed seconds, duration, node and beginning of each evaluation.
FATES: list[tuple[Any, ...]] = [
    ("FINISHED", 0.25, 2.0, 0.5, "n1", "2023-11-14T22:13:21.000+00:00"),
    ("FAILED", None, 3.0, 0.5, "n1", "2023-11-14T22:13:22.000+00:00"),
    ("FINISHED", 0.75, 4.0, 0.5, "n1", "2023-11-14T22:13:23.000+00:00"),
    ("PROPOSED", None, None, None, None, None),
]


def same(found: Any, expected: Any) -> None:
    """Equal, and of the same types all over: 1 is no 1.0, and no True."""
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make(tmp_path / "workflows")


def rows_of_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        if isinstance(row["mode"], str):  # of several types
            row["mode"] = json.loads(row["mode"])
        for name in ("start", "end"):
            row[name] = row[name] and row[name].astimezone(UTC).isoformat(timespec="milliseconds")
    return rows


@pytest.mark.parametrize(
    ("ending", "read"),
    [
        ("json", lambda path: json.loads(path.read_text())),
        ("yaml", lambda path: yaml.safe_load(path.read_text())),
        ("yml", lambda path: yaml.safe_load(path.read_text())),
        ("YAML", lambda path: yaml.safe_load(path.read_text())),
        ("parquet", rows_of_parquet),
    ],
)
def test_values_keep_their_types(
    layout: Layout, tmp_path: Path, ending: str, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    path = tmp_path / f"all.{ending}"
    assert export(layout, path) == 4
    rows = read(path)
    assert [list(row) for row in rows] == [HEADER] * 4
    for number, (row, configuration, fate) in enumerate(zip(rows, CONFIGURATIONS, FATES, strict=True), start=1):
        same({name: row[name] for name in NAMES}, {name: configuration.get(name) for name in NAMES})
        columns = ("state", "objective", "elapsed_sec", "duration", "node", "start")
        same((row["id"], *(row[name] for name in columns)), (number, *fate))


def test_csv_is_what_results_csv_has(layout: Layout, tmp_path: Path) -> None:
    from hpcsearch.workflow.database import reading

    with reading(layout.database) as connection:
        ResultsFile(layout.results, NAMES, BEGIN_AT).mend(connection)
    export(layout, tmp_path / "all.csv")
    with layout.results.open(newline="") as file:
        own = list(csv.DictReader(file))
    with (tmp_path / "all.csv").open(newline="") as file:
        exported = list(csv.DictReader(file))
    assert exported[3]["state"] == "PROPOSED" and exported[3]["objective"] == exported[3]["start"] == ""
    for line in own:
        line["elapsed_sec"] = str(float(line["elapsed_sec"]))
    assert exported[:3] == own


def test_text_of_all_sorts_comes_back_from_csv(tmp_path: Path) -> None:
    texts = ["a,b", 'say "x"', "two\nlines", "\r", "naïve ☃", "", " "]
    layout = make(tmp_path, [{"x": text} for text in texts], ())
    export(layout, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        assert [row["x"] for row in csv.DictReader(file, strict=True)] == texts


@pytest.mark.parametrize("ending", ["csv", "json", "yaml", "parquet", "h5"])
def test_top_limits_and_ranks(layout: Layout, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"best.{ending}"
    assert export(layout, path, top=1) == 1
    readers: dict[str, Callable[[], list[int]]] = {
        "csv": lambda: [int(row["id"]) for row in csv.DictReader(path.read_text().splitlines())],
        "json": lambda: [row["id"] for row in json.loads(path.read_text())],
        "yaml": lambda: [row["id"] for row in yaml.safe_load(path.read_text())],
        "parquet": lambda: [row["id"] for row in rows_of_parquet(path)],
    }
    if ending == "h5":
        with h5py.File(path) as file:
            assert file["ids"][:].tolist() == [3]
    else:
        assert readers[ending]() == [3]
    export(layout, path, top=9, force=True)
    if ending in readers:
        assert readers[ending]() == [3, 1]


@pytest.mark.parametrize("ending", ["csv", "json", "yaml", "parquet", "h5"])
def test_a_workflow_without_results(tmp_path: Path, ending: str) -> None:
    assert export(make(tmp_path, (), (), ()), tmp_path / f"all.{ending}") == 0
    assert (tmp_path / f"all.{ending}").stat().st_size > 0


def test_points_in_time_and_text_have_their_types_in_parquet_without_a_row(layout: Layout, tmp_path: Path) -> None:
    make(tmp_path, (), (), ())
    export(Layout(tmp_path / "poly"), tmp_path / "none.parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "none.parquet")
    assert (str(schema.field("state").type), str(schema.field("start").type)) == ("string", "timestamp[us, tz=UTC]")


def test_microseconds_are_kept_in_parquet(tmp_path: Path) -> None:
    began_at = BEGIN_AT + 0.123456
    layout = make(tmp_path, CONFIGURATIONS[:1], [{"objective": 1.0, "started_at": began_at}])
    export(layout, tmp_path / "all.parquet")
    (row,) = pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert row["start"] == datetime.fromtimestamp(BEGIN_AT, UTC).replace(microsecond=123456)


@pytest.mark.parametrize("name", ["all.txt", "all", "all.csv.gz", ".csv"])
def test_an_unknown_ending_is_refused_with_those_there_are(layout: Layout, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)its format.*\.csv, \.json, \.yaml, \.yml, \.h5, \.parquet"):
        export(layout, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_what_is_there_stays_unless_forced(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"all\.csv exists already"):
        export(layout, path)
    assert path.read_text() == "mine"
    export(layout, path, force=True)
    assert path.read_text().startswith("activation,")


def test_a_link_stays_one_and_what_it_leads_to_is_written(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("real.csv")
    export(layout, tmp_path / "link.csv", force=True)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("activation,")


@pytest.mark.parametrize("name", ["results.csv", "results.h5"])
def test_the_workflows_own_files_are_refused_even_when_forced(layout: Layout, name: str) -> None:
    with pytest.raises(UsageError, match="is the workflow's own"):
        export(layout, layout.root / name, force=True)
    assert not (layout.root / name).exists()


@pytest.mark.parametrize("name", ["nowhere/all.csv", "file/all.csv", "x" * 300 + ".csv", "folder.csv"])
def test_what_cannot_be_written_is_a_sentence(layout: Layout, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"cannot be written: |exists already"):
        export(layout, tmp_path / name, force=True)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("ending", ["csv", "h5"])
def test_a_disk_that_gets_full_leaves_what_was_there_and_nothing_else(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = tmp_path / f"all.{ending}"
    path.write_text("mine")
    before = sorted(tmp_path.iterdir())

    def half(draft: Path, *_: Any) -> None:
        draft.write_text("half a")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(module._WRITERS, f".{ending}", half)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"cannot be written: No space left on device"):
        export(layout, path, force=True)
    assert path.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == before


def test_without_pyarrow_it_says_what_to_type(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"(?s)pyarrow is not installed.*pip install 'hpcsearch\[parquet\]'"):
        export(layout, tmp_path / "all.parquet")
    export(layout, tmp_path / "all.json")
