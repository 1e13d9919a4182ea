"""``submit --wait`` with real searches on this machine, from the command to its exit code."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_bed import LIMIT_S, change, command, end_all_searches, finished, on_a_terminal, once_running
from workflow_bed import take_lease

from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import State
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.submission import waiting
from hpcsearch.workflow import database, open_workflow
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]

SUBMIT = (
    "submit hps poly -p problem.py -r model_run.py -n 1 -t 10 -q local -A none -j serial --search random "
    "--evals-per-node 2 --max-evals 6 --wait"
).split()


@pytest.fixture(autouse=True)
def nothing_left_running(search_files: Path) -> Iterator[None]:
    yield
    end_all_searches()


def test_a_search_that_ends_as_it_should(search_files: Path) -> None:
    done = finished(*SUBMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 of 6 evaluations ended, best ") == 1
    assert "\x1b" not in done.stdout
    opened = open_workflow("poly")
    assert opened.counts() == {State.FINISHED: 6}
    first = opened.records()[0]
    assert (first.config, first.objective, first.state) == ({"lr": 0.01, "units": 10}, 9.99, State.FINISHED)
    assert opened.best()[0].objective == max(one.objective or 0 for one in opened.records())
    with (opened.directory / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6

    again = finished("resume", "poly", "--max-evals", "8", "--wait")
    assert again.returncode == 0, again.stderr
    assert open_workflow("poly").counts() == {State.FINISHED: 8}
    refused = finished("resume", "poly")
    assert refused.returncode == 2
    assert "is done" in refused.stderr


def test_a_search_of_which_nothing_finishes(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("def run(config): raise ValueError('it diverged')\n")
    done = finished(*SUBMIT)
    assert done.returncode == 1
    assert "None of the 6 evaluations of 'poly' has finished." in done.stderr
    assert "The first one said: ValueError: it diverged" in done.stderr


def test_a_driver_that_is_killed_for_good(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("import time\ndef run(config): time.sleep(60); return 1.0\n")
    waiting = subprocess.Popen(command(*SUBMIT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    layout = once_running(Path("workflows", "poly"))
    script = int((take_snapshot(layout).allocations[0].scheduler_id or "").partition(".")[0])
    os.killpg(script, signal.SIGKILL)
    _, said = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 9
    assert "Allocation 1 of 'poly' ended without a word" in said
    assert "hpcsearch resume poly" in said


def test_ctrl_c_leaves_the_search_running(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("import time\ndef run(config): time.sleep(60); return 1.0\n")
    waiting = subprocess.Popen(
        command(*SUBMIT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    layout = once_running(Path("workflows", "poly"))
    os.killpg(waiting.pid, signal.SIGINT)
    _, said = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 130
    assert "The search goes on" in said
    assert "Traceback" not in said
    assert take_snapshot(layout).allocations[0].standing == "running"


def test_on_a_terminal_there_is_a_bar(search_files: Path) -> None:
    code, shown = on_a_terminal(*SUBMIT)
    assert code == 0, shown
    assert "\x1b[" in shown
    assert "━" in shown
    assert "6 of 6 evaluations ended, best " in shown


@pytest.mark.parametrize("held", [True, False])
def test_a_driver_that_still_writes_its_last_files_is_waited_for(
    make_workflow: MakeWorkflow, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """It has recorded its end, and holds the lease; without that, nobody is left to tell how it ended."""
    layout = make_workflow(objectives=(0.5,))
    change(layout, state="ENDED", started_at=1.0, ended_at=2.0, outcome="done")
    file = layout.allocation(1) / "exit_status"
    file.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(waiting, "_EXIT_STATUS_S", 0.2)
    search: Any = SimpleNamespace(layout=layout, numbers=(1,))
    if not held:
        with pytest.raises(AllocationError, match="ended without a word"):
            waiting.see_through(search)
        return
    engine = database.writer(layout.database)
    take_lease(engine)
    engine.dispose()
    writer = threading.Timer(1.0, lambda: file.write_text("0\n"))
    writer.start()
    assert waiting.see_through(search) == 0
    writer.join()
