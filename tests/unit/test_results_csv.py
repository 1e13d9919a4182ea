"""results.csv: every evaluation that ended once, whatever happened to the file."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workflow_bed import ended, finish, new_database, take_lease

from hpcsearch.evaluation import State
from hpcsearch.workflow.results.csv_file import FIXED_COLUMNS, ResultsFile

ZERO_AT = 1_700_000_000.0

VALUES = (
    st.text(st.characters(codec="utf-8"), max_size=6)
    | st.sampled_from(["a,b", 'say "x"', "two\nlines", "\r", "\r\n", "naïve ☃", " ", "'", '"', "\n"])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.booleans()
)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def row(identity: int, **changes: Any) -> dict[str, Any]:
    at = ZERO_AT + identity
    return {"id": identity, **ended(identity, started_at=at, ended_at=at + 0.5, gathered_at=at + 1.0), **changes}


class Bed:
    """A workflow whose evaluations have ended, and its file."""

    def __init__(self, folder: Path, configurations: list[dict[str, Any]], names: list[str]) -> None:
        self.path = folder / "results.csv"
        self.engine = new_database(folder, configurations)
        self.names = names
        rows = [row(number) for number, _ in enumerate(configurations, start=1)]
        for one in rows:
            del one["id"]
        finish(self.engine, take_lease(self.engine), *rows)

    @property
    def file(self) -> ResultsFile:
        return ResultsFile(self.path, self.names, ZERO_AT)

    def mend(self) -> None:
        with self.engine.begin() as connection:
            self.file.mend(connection)

    def ids(self) -> list[int]:
        return [int(one["id"]) for one in read(self.path)]


CONFIGURATIONS = [{"lr": 0.5 / n, "name": f'line {n}\nof two, and\r\n{n}"'} for n in range(1, 4)]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path, CONFIGURATIONS, ["lr", "name"])
    yield made
    made.engine.dispose()


def test_the_columns(tmp_path: Path) -> None:
    bed = Bed(tmp_path, [{"lr": 0.1, "units": 3}], ["lr", "units"])
    bed.mend()
    assert bed.path.read_text() == (
        "lr,units,id,objective,elapsed_sec,state,duration,node,start,end\n"
        "0.1,3,1,1.0,2.000,FINISHED,0.5,n1,2023-11-14T22:13:21.000+00:00,2023-11-14T22:13:21.500+00:00\n"
    )
    bed.engine.dispose()


def test_failures_have_an_empty_objective(bed: Bed) -> None:
    bed.mend()
    failed = row(4, state=State.FAILED.value, objective=None, duration_s=None, started_at=None, node=None)
    bed.file.append([({"lr": 1.0}, failed)])
    last = read(bed.path)[-1]
    assert (last["objective"], last["state"], last["duration"], last["start"], last["node"]) == (
        "",
        "FAILED",
        "",
        "",
        "",
    )
    assert last["name"] == ""  # a hyperparameter that a condition leaves out


@pytest.fixture(scope="module")
def nothing_recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A workflow none of whose evaluations has ended."""
    made = Bed(tmp_path_factory.mktemp("empty"), [], ["a", "b, c", "ü"])
    yield made
    made.engine.dispose()


@settings(max_examples=60)
@given(
    evaluations=st.lists(
        st.tuples(st.dictionaries(st.sampled_from(["a", "b, c", "ü"]), VALUES), st.floats(allow_nan=False)), max_size=4
    )
)
def test_values_come_back_exactly(nothing_recorded: Bed, evaluations: list[tuple[dict[str, Any], float]]) -> None:
    bed, names = nothing_recorded, nothing_recorded.names
    with tempfile.TemporaryDirectory() as folder:
        bed.path = Path(folder) / "results.csv"
        bed.mend()
        bed.file.append((c, row(n, objective=o)) for n, (c, o) in enumerate(evaluations, start=1))
        lines = read(bed.path)
        assert len(lines) == len(evaluations)
        for line, (configuration, objective) in zip(lines, evaluations, strict=True):
            assert {name: line[name] for name in names} == {name: str(configuration.get(name, "")) for name in names}
            assert float(line["objective"]) == objective and line["objective"] == repr(objective)
            assert all(float(line[name]) == value for name, value in configuration.items() if isinstance(value, float))
        bed.mend()  # nothing is missing and nothing is torn
        assert read(bed.path) == lines


def test_mending_a_file_that_is_whole_changes_nothing(bed: Bed) -> None:
    bed.mend()
    before = bed.path.read_bytes()
    bed.mend()
    assert bed.path.read_bytes() == before


def test_missing_rows_are_added_in_the_order_of_gathering(bed: Bed) -> None:
    bed.mend()
    whole = read(bed.path)
    with bed.path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*bed.names, *FIXED_COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows([whole[2], whole[1]])
    bed.mend()
    assert bed.ids() == [3, 2, 1]
    assert sorted(read(bed.path), key=lambda one: one["id"]) == whole


def test_a_file_torn_anywhere_is_mended(bed: Bed) -> None:
    bed.mend()
    content, whole = bed.path.read_bytes(), read(bed.path)
    for end in range(len(content)):
        bed.path.write_bytes(content[:end])
        bed.mend()
        assert sorted(read(bed.path), key=lambda one: one["id"]) == whole, f"torn behind byte {end}"


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_torn_line_longer_than_a_block_is_cut(tmp_path: Path, block: int) -> None:
    from hpcsearch.workflow.results.csv_file import _cut_torn_line

    path = tmp_path / "file"
    path.write_bytes(b"first\nsecond\n" + b"x" * 500)
    with path.open("rb+") as raw:
        raw.seek(0, 2)
        _cut_torn_line(raw, block)
    assert path.read_bytes() == b"first\nsecond\n"


@pytest.mark.parametrize(
    "header",
    [
        "lr,name,extra,id,objective,elapsed_sec,state,duration,node,start,end",
        "lr,id,objective,elapsed_sec,state,duration,node,start,end",
        "",
        "something else",
    ],
)
def test_a_file_with_other_columns_is_written_anew(bed: Bed, header: str) -> None:
    bed.path.write_text(f"{header}\n1,2,3\n")
    bed.mend()
    assert bed.ids() == [1, 2, 3]
    assert list(read(bed.path)[0]) == [*bed.names, *FIXED_COLUMNS]
    assert [file.name for file in bed.path.parent.iterdir() if file.suffix == ".new"] == []


@pytest.mark.parametrize("line", ["1,2,3", "0.5,x,not a number,1.0,2.0,FINISHED,0.5,n1,,", "1," * 30])
def test_a_file_with_a_line_that_is_none_of_ours_is_written_anew(bed: Bed, line: str) -> None:
    bed.mend()
    whole = read(bed.path)
    with bed.path.open("a") as file:
        file.write(line + "\n")
    bed.mend()
    assert read(bed.path) == whole


def test_an_unfinished_evaluation_is_not_in_the_file(tmp_path: Path) -> None:
    bed = Bed(tmp_path, CONFIGURATIONS[:1], ["lr", "name"])
    with bed.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE evaluation SET gathered_at = NULL")
    bed.mend()
    assert bed.ids() == []
    bed.engine.dispose()


def test_a_hyperparameter_may_have_the_name_of_a_column(tmp_path: Path) -> None:
    bed = Bed(tmp_path, [{"id": 0.25, "state": "a"}, {"id": 0.5, "state": "b"}], ["id", "state"])
    bed.mend()
    before = bed.path.read_bytes()
    bed.mend()
    assert bed.path.read_bytes() == before and before.count(b"\n") == 3
    bed.engine.dispose()
