"""``hpcsearch topk``: the best points of a results.csv or a workflow."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from results_bed import CONFIGURATIONS, make

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.csv_file import ResultsFile

#: Written by another program: other columns, another order, numbers for failures.
FOREIGN = """\
activation,lr,units,id,objective,elapsed_sec
tanh,0.01,10,10daf9ea-dfc3-11eb-abab-acde48001122,0.5,1.25
relu,0.0030462747123,66,10db0a10-dfc3-11eb-abab-acde48001122,0.98639863728,555.12250590321
relu,0.1,66,10db0a10-dfc3-11eb-abab-acde48001123,-3.4028234663852886e+38,2.0
relu,0.2,67,10db0a10-dfc3-11eb-abab-acde48001124,,3.0
relu,0.3,68,10db0a10-dfc3-11eb-abab-acde48001125,F_timeout,4.0
relu,0.4,69,10db0a10-dfc3-11eb-abab-acde48001126,nan,5.0
"""
BEST = """\
'0':
    activation: relu
    elapsed_sec: 555.1225059032
    id: 10db0a10-dfc3-11eb-abab-acde48001122
    lr: 0.0030462747
    objective: 0.9863986373
    units: 66
"""
SECOND = """\
'1':
    activation: tanh
    elapsed_sec: 1.25
    id: 10daf9ea-dfc3-11eb-abab-acde48001122
    lr: 0.01
    objective: 0.5
    units: 10
"""


def topk(*arguments: str) -> int:
    return run(hpcsearch_command, ["topk", *arguments], "hpcsearch")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    (tmp_path / "results.csv").write_text(FOREIGN)
    return tmp_path


def workflow(here: Path, *, minimize: bool = False) -> Layout:
    """A workflow whose results.csv is as its driver leaves it."""
    layout = make(here / "workflows", minimize=minimize)
    with reading(layout.database) as connection:
        ResultsFile(layout.results, sorted(CONFIGURATIONS[0]), 1_700_000_000.0).mend(connection)
    return layout


def test_the_best_point_is_yaml_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    assert topk("results.csv") == 0
    assert capsys.readouterr() == (BEST, "")
    assert topk("results.csv", "-k", "2") == 0
    assert capsys.readouterr() == (BEST + SECOND, "")


def test_more_than_there_are_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert topk("results.csv", "-k", "5") == 0
    assert capsys.readouterr() == (BEST + SECOND, "These are all: 2 of the 5 asked for.\n")


def test_the_lowest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert topk("results.csv", "-k", "2", "--minimize") == 0
    assert [point["objective"] for point in yaml.safe_load(capsys.readouterr().out).values()] == [0.5, 0.9863986373]


def test_files(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("best.json", "best.yaml", "best.csv"):
        assert topk("results.csv", "-k", "2", "-o", name) == 0
        assert capsys.readouterr() == (BEST + SECOND, f"Written to {name}.\n")
    points = yaml.safe_load(BEST + SECOND)
    assert Path("best.yaml").read_text() == BEST + SECOND
    assert json.loads(Path("best.json").read_text()) == points
    with Path("best.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {name: str(value) for name, value in point.items()} for point in points.values()
        ]


def test_a_file_that_exists_or_has_no_known_ending_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("best.json").write_text("mine")
    assert topk("results.csv", "-o", "best.json") == 2
    assert "best.json exists already" in capsys.readouterr().err
    assert topk("results.csv", "-o", "best.txt") == 2
    assert ".json, .yaml, .yml, .csv" in capsys.readouterr().err
    assert Path("best.json").read_text() == "mine"
    assert topk("results.csv", "-o", "best.json", "--force") == 0
    assert json.loads(Path("best.json").read_text())["0"]["units"] == 66


def test_a_workflow_by_name_by_path_and_by_its_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = workflow(here)
    printed = []
    for what in ("poly", str(layout.root), str(layout.results)):
        assert topk(what, "-k", "3") == 0
        printed.append(yaml.safe_load(capsys.readouterr().out))
    by_name, by_path, by_file = printed
    assert (
        by_name
        == by_path
        == {
            "0": {**CONFIGURATIONS[2], "id": 3, "objective": 0.75, "elapsed_sec": 4.0},
            "1": {**CONFIGURATIONS[0], "id": 1, "objective": 0.25, "elapsed_sec": 2.0},
        }
    )
    for number in ("0", "1"):
        by_file[number]["mode"] = by_name[number]["mode"]  # of several types, which a CSV does not tell apart
    assert by_file == by_name


def test_a_workflow_says_itself_what_is_best(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = workflow(here, minimize=True)
    for what in ("poly", str(layout.results)):
        assert topk(what) == 0
        assert yaml.safe_load(capsys.readouterr().out)["0"]["objective"] == 0.25
    assert topk("poly", "--maximize") == 2
    assert "says itself" in capsys.readouterr().err
    (here / "link.csv").symlink_to(layout.results)
    assert topk("link.csv") == 0
    assert yaml.safe_load(capsys.readouterr().out)["0"]["objective"] == 0.25


def test_the_line_that_a_driver_is_writing_is_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = workflow(here)
    with layout.results.open("a") as file:
        file.write("relu,True,1,0.5,1,3,4,99")
    assert topk(str(layout.results)) == 0
    assert yaml.safe_load(capsys.readouterr().out)["0"]["objective"] == 0.75


def test_only_finished_evaluations_count_where_the_file_tells_states(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results.csv").write_text("x,objective,state,node\n1,0.5,FINISHED,a\n2,0.9,STOPPED,b\n")
    assert topk("results.csv", "-k", "1") == 0
    assert capsys.readouterr().out == "'0':\n    objective: 0.5\n    x: 1\n"


def test_values_have_the_type_of_their_column(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results.csv").write_text(
        "whole,number,truth,text,code,empty,objective\n1,1.0,True,1,007,,1\n2,1e-7,False,x,1,,0.5\n,12345678,,,,,0.25"
    )
    assert topk("results.csv", "-k", "3") == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out) == {
        "0": {"whole": 1, "number": 1.0, "truth": True, "text": "1", "code": "007", "objective": 1.0},
        "1": {"whole": 2, "number": 1e-7, "truth": False, "text": "x", "code": "1", "objective": 0.5},
        "2": {"number": 12345678.0, "objective": 0.25},
    }


@pytest.mark.parametrize(("value", "shown"), [("1.23456789e-7", 1.23457e-7), ("0.12345678901", 0.123456789)])
def test_small_numbers_keep_six_digits(value: str, shown: float, capsys: pytest.CaptureFixture[str]) -> None:
    Path("results.csv").write_text(f"lr,objective\n{value},1\n")
    assert topk("results.csv") == 0
    assert yaml.safe_load(capsys.readouterr().out)["0"]["lr"] == shown


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: there is no column 'objective'"),
        (b"a,b\n1,2\n", "line 1: there is no column 'objective'"),
        (b"a,a,objective\n1,2,3\n", "line 1: the column 'a' is there twice"),
        (b"a,objective\n1,2\n3\n", "line 3: the header has 2 columns, this line 1"),
        (b"a,objective\n1,2\n1,2,3\n", "line 3: the header has 2 columns, this line 3"),
        (b'a,objective\n"two\nlines",2\n1,good\n', "line 4: the objective 'good' is no number"),
        (b'a,objective\n"1,2\n', "line 2: "),
        (b"a,objective\n1,2\n\xff,3\n", "line 3: this is no text in UTF-8"),
        (b"a,objective\n1,\n", "No evaluation of results.csv has finished"),
    ],
)
def test_what_is_no_results_csv_is_a_sentence_with_the_line(
    content: bytes, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results.csv").write_bytes(content)
    assert topk("results.csv", "-o", "best.json") in (2, 3)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("Error: ") and complaint in captured.err
    assert not Path("best.json").exists()


@pytest.mark.parametrize("what", ["nowhere.csv", "nothing", "folder.csv", "x" * 300])
def test_what_is_not_there_is_a_sentence(what: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folder.csv").mkdir()
    assert topk(what) in (2, 3)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("Error: ")


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results.csv").write_bytes(b"\xef\xbb\xbfobjective,x\r\n1,2\r\n\r\n")
    assert topk("results.csv") == 0
    assert capsys.readouterr().out == "'0':\n    objective: 1.0\n    x: 2\n"
