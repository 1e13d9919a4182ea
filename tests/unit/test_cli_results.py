"""``hpcsearch results``: what it prints, and the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results_bed import make

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.workflow.layout import Layout


def results(layout: Layout, *arguments: str) -> int:
    return run(hpcsearch_command, ["results", str(layout.root), *arguments], "hpcsearch")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "workflows")


def test_a_file_gets_all_and_the_table_is_printed_as_ever(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout) == 0
    alone = capsys.readouterr().out
    assert results(layout, "-o", "all.json") == 0
    assert capsys.readouterr().out == f"{alone}4 evaluations written to all.json.\n"
    assert [row["id"] for row in json.loads(Path("all.json").read_text())] == [1, 2, 3, 4]


def test_top_limits_both_the_print_and_the_file(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout, "--top", "1", "-o", "best.json") == 0
    out = capsys.readouterr().out
    assert "The best 1 of 2 finished evaluations; 1 failed." in out and "1 evaluation written to best.json." in out
    assert [row["id"] for row in json.loads(Path("best.json").read_text())] == [3]


def test_ten_are_shown_without_top(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make(tmp_path, [{"x": number} for number in range(12)], [{"objective": float(n)} for n in range(12)])
    assert results(layout, "--format", "json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == list(range(12, 2, -1))
    assert results(layout, "--top", "11", "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 11


def test_what_programs_read_stays_alone_on_standard_output(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert results(layout, "--format", "json", "-o", "all.csv") == 0
    captured = capsys.readouterr()
    assert [row["id"] for row in json.loads(captured.out)] == [3, 1]
    assert captured.err == "4 evaluations written to all.csv.\n"


def test_a_refusal_prints_nothing_else(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    Path("all.csv").write_text("mine")
    for arguments, words in (
        (("-o", "all.csv"), ("exists already", "--force")),
        (("-o", "all.txt"), (".parquet",)),
        (("-o", "nowhere/all.csv"), ("there is no folder nowhere",)),
    ):
        assert results(layout, *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("Error: ")
        assert all(word in captured.err for word in words), captured.err
    assert Path("all.csv").read_text() == "mine"
    assert results(layout, "-o", "all.csv", "--force") == 0
    assert Path("all.csv").read_text().count("\n") == 5
