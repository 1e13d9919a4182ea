"""Tables as a terminal shows them, and as whatever else gets them."""

from __future__ import annotations

import sys

import pytest

from hpcsearch.monitor.text import print_table

HEADER = ("Allocation", "State", "Empty", "Submitted", "Why")
ROWS = [
    ("1", "ended", "", "2026-11-21 14:09:47", "the budget of evaluations is spent"),
    ("2", "running", "", "2026-11-21 14:19:47", ""),
]


def shown(
    width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], header: bool = True
) -> list[str]:
    monkeypatch.setenv("NO_COLOR", "1")
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(HEADER if header else None, ROWS if header else [("Best", "17 " * 20), ("Search", "ambs")])
    return capsys.readouterr().out.splitlines()


def test_a_row_is_a_line_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(None, monkeypatch, capsys) == [
        "Allocation  State    Submitted            Why",
        "1           ended    2026-11-21 14:09:47  the budget of evaluations is spent",
        "2           running  2026-11-21 14:19:47",
    ]


def test_the_last_column_alone_is_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(64, monkeypatch, capsys) == [
        "Allocation  State    Submitted            Why",
        "1           ended    2026-11-21 14:09:47  the budget of",
        "                                          evaluations is spent",
        "2           running  2026-11-21 14:19:47",
    ]


def test_where_the_others_do_not_fit_a_value_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(40, monkeypatch, capsys) == [
        "Allocation  1",
        "State       ended",
        "Submitted   2026-11-21 14:09:47",
        "Why         the budget of evaluations is",
        "            spent",
        "",
        "Allocation  2",
        "State       running",
        "Submitted   2026-11-21 14:19:47",
    ]


def test_facts_stay_beside_their_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(20, monkeypatch, capsys, header=False)
    assert lines[0] == "Best    17 17 17 17"
    assert lines[-1] == "Search  ambs"
    assert all(len(line) <= 20 for line in lines)
