"""Exit codes: documented as they are, and those that commands end with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_bed import hpcsearch

from hpcsearch import errors
from hpcsearch.cli.main import INTERRUPTED
from hpcsearch.errors import HpcsearchError
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

PAGE = Path(__file__).parents[2] / "docs" / "errors.rst"

_ROW = re.compile(r"   \* - (\d+)\n     -(.*)\n")


def documented() -> dict[str, int]:
    """Name of an exception -> the code in its row of the page."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {name: int(code) for code, names in rows for name in re.findall(r"``(\w+)``", names)}


def test_every_exception_is_documented_with_its_code() -> None:
    classes = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert documented() == {name: kind.exit_code for name, kind in classes.items() if issubclass(kind, HpcsearchError)}


def test_every_code_has_one_row() -> None:
    codes = [int(code) for code, _ in _ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert codes == sorted(set(codes))
    assert {0, INTERRUPTED} <= set(codes)


@pytest.fixture
def broken(make_workflow: Callable[..., Layout]) -> Iterator[Layout]:
    layout = make_workflow("broken")
    layout.database.write_text("no database at all, but long enough to be looked at")
    yield layout


SUBMIT = ("submit", "hps", "new", "-p", "problem.py", "-r", "model_run.py", "-n", "1", "-t", "5", "-q", "local")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ls",), 0),
        (("ls", "--form", "json", "--colour"), 2),
        (("frobnicate",), 2),
        ((), 2),
        (("status",), 0),
        (("status", "missing"), 3),
        (("show", "poly", "999"), 3),
        (("show", "poly", "one"), 2),
        (("logs", "poly", "999"), 3),
        (("rm", "poly"), 2),
        ((*SUBMIT[:4], "missing.py", *SUBMIT[5:]), 4),
        ((*SUBMIT, "--site", "nowhere"), 5),
        ((*SUBMIT, "--search", "nonsense"), 2),
        ((*SUBMIT[:2], "poly", *SUBMIT[3:]), 2),
        (("status", "broken"), 7),
        (("results", "broken"), 7),
        (("show", "broken", "1"), 7),
        (("resume", "broken"), 7),
        (("cancel", "broken"), 7),
        (("rm", "broken", "--yes"), 7),
    ],
)
def test_what_commands_end_with(
    make_workflow: Callable[..., Layout],
    broken: Layout,
    search_files: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
) -> None:
    """A sentence on standard error and the code of its kind, never a traceback."""
    layout = make_workflow("poly", objectives=(0.5,))
    engine = database.writer(layout.database)
    store.update_allocation(engine, 1, state="ENDED")
    engine.dispose()
    assert hpcsearch(*arguments) == code
    printed = capsys.readouterr()
    assert ("Error: " in printed.err) is (code != 0) or not arguments
    assert "Traceback" not in printed.err
