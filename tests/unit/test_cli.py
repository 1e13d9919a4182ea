"""The command line: what is loaded, how values are read, what errors look like, what is printed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from cli_bed import hpcsearch
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.cli.main import COMMANDS, INTERRUPTED, run
from hpcsearch.cli.options import Walltime
from hpcsearch.errors import NotFoundError, UsageError
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


def end_allocation(layout: Layout, **values: object) -> None:
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, state="ENDED", outcome="The budget is spent.", **values)
    engine.dispose()


def test_help_imports_click_and_nothing_else_that_takes_time() -> None:
    code = (
        "import sys\n"
        "from hpcsearch.cli.main import hpcsearch_command, run\n"
        "run(hpcsearch_command, ['--help'], 'hpcsearch')\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    text, _, loaded = output.partition("LOADED")
    assert all(name in text for name in COMMANDS)
    heavy = {"sqlalchemy", "rich", "jinja2", "ConfigSpace", "numpy", "sklearn", "submitit", "asyncio"}
    assert not heavy & set(loaded.split())
    assert "click" in loaded.split()


@pytest.mark.parametrize("command", [*COMMANDS, "submit hps"])
def test_every_command_has_help_that_ends_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch(*command.split(), "--help") == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("stats",), "Did you mean 'status'?"),
        (("submit", "hps", "x", "--max-eval", "3"), "'--max-evals'"),
        (("submit", "hps", "x", "-t", "1:99"), "'1:99' is no walltime"),
        (("submit", "hps", "x", "-t", "0"), "'0' is no walltime"),
        (("submit", "hps", "x", "--search-arg", "kappa"), "name=value"),
        (("submit", "hps", "x", "-p", "problem.py"), "Missing option"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hpcsearch(*arguments) == 2
    printed = capsys.readouterr()
    assert expected in printed.err
    assert printed.out == ""


@given(st.integers(1, 10**6))
def test_walltime_reads_minutes_and_clock_alike(minutes: int) -> None:
    hours, rest = divmod(minutes, 60)
    days, left = divmod(hours, 24)
    read = Walltime().convert
    assert read(str(minutes), None, None) == minutes * 60
    assert read(f"{hours}:{rest:02d}:00", None, None) == minutes * 60
    assert read(f"{days}-{left}:{rest:02d}:00", None, None) == minutes * 60


@pytest.mark.parametrize("text", ["", "-5", "1:2", "1:60:00", "1:00:60", "ninety", "1e3", "٣", "1:00:00:00", "0:00:00"])
def test_walltime_refuses(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Walltime().convert(text, None, None)


def raising(error: BaseException) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("it", callback=callback)


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (NotFoundError("There is none.", "Try ls."), 3, "Error: There is none.\nTry ls.\n"),
        (UsageError("No."), 2, "Error: No.\n"),
        (KeyboardInterrupt(), INTERRUPTED, "\nInterrupted.\n"),
    ],
)
def test_an_error_is_a_sentence_and_its_exit_code(
    error: BaseException, code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error), [], "it") == code
    assert capsys.readouterr().err == expected


def test_a_fault_of_our_own_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), [], "it")


def test_an_unknown_workflow_names_those_there_are(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_workflow("poly")
    assert hpcsearch("status", "pole", "--root", str(tmp_path / "workflows")) == 3
    assert "poly" in capsys.readouterr().err


def test_results_shows_the_best_in_the_order_of_their_objectives(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = make_workflow(objectives=(0.1, 0.9, None, 0.5), proposed=1)
    path = str(layout.root)
    assert hpcsearch("results", path, "--top", "2", "--format", "json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [2, 4]
    assert hpcsearch("results", path, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in rows] == ["2", "4", "1"]
    assert list(rows[0]) == ["lr", "units", "id", "objective", "duration"]
    assert hpcsearch("results", path) == 0
    text = capsys.readouterr().out
    assert "The best 3 of 3 finished evaluations; 1 failed." in text
    assert text.splitlines()[1].split()[:2] == ["2", "0.9"]
    assert "\x1b" not in text


def test_results_of_a_workflow_without_any(make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("results", str(make_workflow(proposed=2).root)) == 0
    assert "has finished yet" in capsys.readouterr().out


def test_status_in_words_and_as_json(make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make_workflow(objectives=(0.1, None, 0.7), proposed=2)
    end_allocation(layout)
    assert hpcsearch("status", str(layout.root)) == 0
    text = capsys.readouterr().out
    assert "2 PROPOSED, 2 FINISHED, 1 FAILED" in text
    assert "3 ended; budget: 50" in text
    assert "0.7 (evaluation 3: " in text
    assert "The budget is spent." in text
    assert hpcsearch("status", str(layout.root), "--format", "json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["ended"] == 3
    assert values["counts"]["FAILED"] == 1
    assert values["best"]["id"] == 3
    assert values["allocations"][0]["standing"] == "ended"


def test_ls_lists_all_and_hides_none_that_is_broken(
    make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_workflow("one", objectives=(0.25,))
    make_workflow("two")
    (tmp_path / "workflows" / "two" / "workflow.db").write_text("no database at all, but long enough to be looked at")
    root = ("--root", str(tmp_path / "workflows"))
    assert hpcsearch("ls", "--format", "json", *root) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["workflow"], one["best"]) == ("one", 0.25)
    assert "cannot be read" in two["error"]
    assert hpcsearch("ls", *root) == 0
    assert "0.25" in capsys.readouterr().out


def test_ls_where_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("ls", "--root", str(tmp_path)) == 0
    assert "No workflows" in capsys.readouterr().out


def test_cancel_of_what_has_ended(make_workflow: MakeWorkflow, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make_workflow()
    end_allocation(layout)
    assert hpcsearch("cancel", str(layout.root)) == 0
    assert "Nothing works on 'poly'" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow(objectives=tuple(float(number) for number in range(5000)), max_evals=None)
    # Far more than a pipe holds, so that the writer meets the closed end
    command = [sys.executable, "-m", "hpcsearch.cli", "results", str(layout.root), "--top", "5000", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
