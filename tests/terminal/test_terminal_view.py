"""``hpcsearch monitor`` in real terminals: what is on the screen, and what keys do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from terminal_bed import FAILED, Search, Terminal, heard, masked

from hpcsearch.schedulers import AllocationState, AllocationStatus
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site
from hpcsearch.workflow import store

Start = Callable[..., Terminal]

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = [(80, 24), (200, 50)]

#: What is typed from one screen to the next, and a word of the screen that comes.
STEPS: dict[str, tuple[list[str], str]] = {
    "recent": ([], "[1 recent]"),
    "running": (["2"], "[2 running]"),
    "best": (["3"], "[3 best]"),
    "failed": (["4"], "[4 failed]"),
    "sort": (["3", "s"], "Sort by"),
    "by momentum": (["Down", "Down", "Down", "Enter"], "by momentum"),
    "reversed": (["r"], "rising"),
    "details": (["Enter"], "Evaluation 1 of demo"),
    "why": (["Escape", "4", "w"], "the loss is nan"),
    "why it stands": (["Escape", "W"], "Something runs"),
    "log": (["Escape", "1", "l"], "this was all"),
    "cancel": (["Escape", "c"], "y: yes"),
    "help": (["n", "?"], "leave; the search goes on"),
}


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_screens_are_the_golden_ones(search: Search, terminal: Start, columns: int, lines: int) -> None:
    search.layout.evaluation(26).mkdir(parents=True)
    search.layout.output(26).write_text("begins\r\nepoch 1\repoch 2\n\x1b[31mred\n")
    shown = terminal(columns, lines, "monitor", "demo")
    parts = []
    for name, (keys, word) in STEPS.items():
        for key in keys:
            shown.type(key)
            shown.shows()  # a key is typed when the one before has been answered
        parts.append(f"==== {name}\n{masked(shown.shows(word))}")
    screens = "\n".join(parts)
    golden = GOLDEN / f"monitor-{columns}x{lines}.txt"
    if os.environ.get("HPCSEARCH_WRITE_GOLDEN"):
        golden.write_text(screens)
    assert screens == golden.read_text()


def test_what_is_new_appears_by_itself(search: Search, terminal: Start) -> None:
    shown = terminal(100, 30, "monitor", str(search.layout.root))
    shown.shows("26 of 60 ended", "8.62069")
    search.finish(28, objective=99.5, started_at=1_750_100_000.0, ended_at=1_750_100_009.0)
    shown.shows("27 of 60 ended", "99.5 (evaluation 28)")
    search.finish(29, **{**FAILED, "error_message": "something else"})
    shown.type("f")
    shown.shows("28 of 60 ended", "ValueError: something else")


def test_it_follows_the_size_of_the_terminal(search: Search, terminal: Start) -> None:
    shown = terminal(80, 24, "monitor", str(search.layout.root))
    before = shown.shows("26 of 60 ended", "n4 lost: its agent is silent")
    assert "3 ValueError" not in before
    shown.resize(200, 50)
    assert "3 ValueError: the loss is nan" in shown.shows("n4 lost", "3 ValueError")
    shown.resize(60, 16)
    small = shown.shows("[1 recent]")
    assert all(len(line) <= 60 for line in small.splitlines())


def test_it_says_what_the_queue_waits_for(search: Search, terminal: Start) -> None:
    store.update_allocation(search.engine, 1, state="SUBMITTED", started_at=None, deadline_at=None)
    reason = "It waits behind jobs of higher priority."
    heard(search.layout, AllocationStatus(AllocationState.QUEUED, reason, "PENDING"))
    shown = terminal(120, 30, "monitor", str(search.layout.root))
    shown.shows(f"1 (4711, 4 nodes of batch) queued: {reason}", "nothing runs")


def test_cancel_asks_and_only_a_yes_ends_it(search: Search, terminal: Start) -> None:
    with subprocess.Popen(["sleep", "600"]) as allocation:
        try:
            row = {"site": "local", "scheduler": "local", "scheduler_id": str(ProcessId.of(allocation.pid))}
            store.update_allocation(search.engine, 1, **row)
            (search.layout.allocation(1) / "site.json").write_text(dump_site(find_site("local")))
            shown = terminal(100, 30, "monitor", str(search.layout.root))
            shown.shows("running", "26 of 60")
            for no in ("n", "Escape", "Enter"):
                shown.type("c")
                shown.shows("End at once, with what runs?")
                shown.type(no)
                assert "End at once" not in shown.shows("[1 recent]")
            assert allocation.poll() is None
            shown.type("x")
            shown.shows("Start nothing more, and let what runs end?")
            shown.type("y")
            shown.shows("starts nothing more, and ends when what runs has ended.")
            assert search.layout.stopped(1).exists() and allocation.poll() is None
            shown.type("Escape")
            shown.shows("[1 recent]", "to start nothing more")
            shown.type("c")
            shown.shows("End at once, with what runs?")
            shown.type("y")
            shown.shows("is told to end.")
            assert allocation.wait(60) == -15
            assert search.layout.cancelled(1).exists()
        finally:
            allocation.kill()


def test_a_log_is_followed(search: Search, terminal: Start) -> None:
    search.layout.evaluation(29).mkdir(parents=True)
    log = search.layout.output(29)
    log.write_text("the first line\n")
    shown = terminal(100, 30, "monitor", str(search.layout.root))
    shown.shows("[1 recent]")
    shown.type("2")
    shown.shows("[2 running]")
    shown.type("Down")
    shown.shows()
    shown.type("l")
    assert "this was all" not in shown.shows("Evaluation 29", "the first line")
    with log.open("a") as file:
        file.write("the second line\n")
    shown.shows("the second line")
    shown.type("q")
    shown.shows("[2 running]")


def test_it_changes_nothing_and_leaves_the_terminal_as_it_was(search: Search, terminal: Start) -> None:
    before = _digests(search.layout.root)
    shown = terminal(100, 30, "monitor", str(search.layout.root), "--interval", "0.5")
    shown.shows("26 of 60 ended")
    for key in ("3", "Enter", "Escape", "w", "Escape", "W", "Escape"):
        shown.type(key)
        shown.shows()
    shown.type("q")
    assert shown.shows("ended with 0").strip() == "ended with 0"
    assert _digests(search.layout.root) == before


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_workflow_that_is_removed_meanwhile_is_a_sentence(search: Search, terminal: Start) -> None:
    shown = terminal(120, 30, "monitor", str(search.layout.root))
    shown.shows("26 of 60 ended")
    hidden = search.layout.root.rename(search.layout.root.with_name("elsewhere"))
    shown.shows("demo: The workflow database")
    hidden.rename(search.layout.root)
    shown.shows("demo: running", "26 of 60 ended")


def test_ctrl_c_leaves(search: Search, terminal: Start) -> None:
    shown = terminal(80, 24, "monitor", str(search.layout.root))
    shown.shows("26 of 60")
    shown.type("C-c")
    shown.shows("ended with")


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_plain_text_where_there_is_no_terminal(search: Search, term: str) -> None:
    command = [sys.executable, "-m", "hpcsearch.cli", "monitor", str(search.layout.root)]
    environment = {**os.environ, "TERM": term, "TZ": "UTC"}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert printed.stderr == "" and "\x1b" not in printed.stdout
    for part in ("demo: running", "26 of 60 ended", "n4 lost: its agent is silent", "3 ValueError", "Running\n", "⠤"):
        assert part in printed.stdout


def test_status_is_watched_in_its_place(search: Search, terminal: Start) -> None:
    shown = terminal(120, 40, "status", str(search.layout.root), "--watch", "--interval", "0.5")
    shown.shows("26 ended; budget: 60")
    search.finish(28)
    screen = shown.shows("27 ended; budget: 60")
    assert screen.count("Workflow") == 1
    shown.type("C-c")
    shown.shows("ended with 130")
