"""``hpcsearch report`` and ``plot``: files that are whole and need nothing else, and refusals in a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_bed import FAILURE, make
from sqlalchemy import update

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.cli.plot import KINDS
from hpcsearch.figures import paper
from hpcsearch.figures.page import page
from hpcsearch.figures.rerun import rerun_script
from hpcsearch.figures.study import read_study
from hpcsearch.workflow import database, schema
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


def command(*arguments: str | Path) -> int:
    return run(hpcsearch_command, [str(one) for one in arguments], "hpcsearch")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "workflows")


class Loaded(HTMLParser):
    """What a page would load from elsewhere, and the texts of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attributes if name in {"src", "srcset", "data"}]
        self.found += [f"a {value}" for name, value in attributes if name == "href" and not str(value).startswith("#")]


def test_the_page_is_one_file_that_loads_nothing(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("report", layout.root, "-o", "page.html") == 0
    assert re.fullmatch(r"Written to page\.html \(\d\.\d MB\)\.\n", capsys.readouterr().out)
    html = Path("page.html").read_text(encoding="utf-8")
    page = Loaded()
    page.feed(html)
    assert page.found == [] and "link" not in page.tags and "iframe" not in page.tags
    assert "default-src 'none'" in html
    for words in ("1 PROPOSED, 2 FINISHED, 1 FAILED", "it diverged", "Importance needs 20", "higher is better"):
        assert words in html


def test_what_a_run_function_says_is_text_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    failed = {"state": "FAILED", "objective": None, "error_kind": "E", "error_message": evil}
    points = [{"name": evil, evil: 1}, {"name": "b", evil: 2}]
    layout = make(tmp_path, points, [{"objective": 1.0}, {"objective": 2.0}], [(1, 1.0, {evil: 1.0})])
    assert command("report", layout.root, "-o", "page.html") == 0
    page = Loaded()
    page.feed(Path("page.html").read_text(encoding="utf-8"))
    assert page.found == [] and page.tags.count("script") == 2 and "img" not in page.tags
    other = make(tmp_path / "failed", points, [{"objective": 1.0}, failed])
    assert command("report", other.root, "-o", "page.html", "--force") == 0
    page = Loaded()
    page.feed(Path("page.html").read_text(encoding="utf-8"))
    assert page.found == [] and page.tags.count("script") == 2 and "img" not in page.tags


def test_a_workflow_in_which_nothing_has_ended_has_a_page_too(make_workflow: MakeWorkflow, tmp_path: Path) -> None:
    layout = make_workflow(objectives=(), proposed=2)
    assert command("report", layout.root, "-o", tmp_path / "page.html") == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("No evaluation has an objective yet.", "No allocation has begun yet.", "No evaluation has failed."):
        assert words in html


def test_the_script_runs_the_best_one_again(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "model_run.py").write_text("def run(config):\n    return config['lr'] * config['units']\n")
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        row = {"run": str(tmp_path / "model_run.py") + ":run", "cwd": str(tmp_path)}
        connection.execute(update(schema.workflow).values(**row))
    engine.dispose()
    script = rerun_script(read_study(layout))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("30.0\n", "")


def test_refusals(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.html").write_text("mine")
    for arguments, words in (
        (("report", layout.root, "-o", "page.pdf"), ".html"),
        (("report", layout.root, "-o", "mine.html"), "exists already"),
        (("report", "nothing", "-o", "page.html"), "no workflow 'nothing'"),
        (("plot", layout.root, "-o", "figure.gif"), "Give a name that ends in .png, .pdf, .svg."),
        (("plot", layout.root), "Missing option '--output'"),
        (("plot", layout.root, "--kind", "pie", "-o", "figure.png"), "'pie' is not one of"),
        (("plot", layout.root, "--kind", "importance", "-o", "figure.png"), "needs 20 finished evaluations"),
        (("plot", layout.root, "--kind", "utilisation", "-o", "figure.png"), "No allocation of this workflow"),
    ):
        assert command(*arguments) != 0
        captured = capsys.readouterr()
        assert captured.out == "" and words in captured.err, arguments
    assert Path("mine.html").read_text() == "mine" and not list(Path().glob("figure*"))


def test_without_matplotlib_a_sentence_says_what_to_type(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcsearch.cli.plot.find_spec", lambda name: None)
    assert command("plot", layout.root, "-o", "figure.png") == 2
    assert "pip install 'hpcsearch[plot]'" in capsys.readouterr().err


def test_every_kind_is_drawn_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    count = 25
    points = [
        {"lr": 10.0 ** -(number % 5), "kind": "ab"[number % 2], **({"depth": number} if number % 3 else {})}
        for number in range(count)
    ]
    reports = [(number, step, {"loss": 1.0 / step}) for number in range(1, 6) for step in (1.0, 2.0)]
    layout = make(tmp_path / "w", points, [{"objective": number % 7 + 0.5} for number in range(count)], reports)
    engine = database.writer(layout.database)
    with engine.begin() as connection:
        connection.execute(update(schema.allocation).values(state="ENDED", started_at=1.7e9, ended_at=1.7e9 + 99))
    engine.dispose()
    assert set(KINDS) == set(paper.KINDS)
    for kind in KINDS:
        assert command("plot", layout.root, "--kind", kind, "-o", f"{kind}.png") == 0
        assert Path(f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    for form, begin in (("pdf", b"%PDF"), ("svg", b"<?xml")):
        assert command("plot", layout.root, "-o", f"figure.{form}") == 0
        assert Path(f"figure.{form}").read_bytes().startswith(begin)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.integers(), NUMBERS, st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
POINTS = st.dictionaries(st.sampled_from(["a", "b", "c", "objective"]), VALUES, max_size=4)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(POINTS, st.one_of(st.none(), NUMBERS)), min_size=5, max_size=30),
    st.lists(
        st.tuples(st.integers(1, 5), st.one_of(st.none(), NUMBERS), st.dictionaries(st.text(), VALUES)), max_size=6
    ),
    st.booleans(),
)
def test_any_search_has_a_page(
    rows: list[tuple[dict[str, Any], float | None]],
    reports: list[tuple[int, float | None, dict[str, Any]]],
    minimize: bool,
) -> None:
    outcomes = [FAILURE if value is None else {"objective": value} for _, value in rows]
    with tempfile.TemporaryDirectory() as folder:
        layout = make(Path(folder), [point for point, _ in rows], outcomes, reports, minimize=minimize)
        html = page(read_study(layout))
    found = re.search(r"^for \(const one of (.*)\) Plotly", html, re.MULTILINE)
    assert found is not None
    assert all({"id", "data", "layout"} <= plot.keys() for plot in json.loads(found[1]))
