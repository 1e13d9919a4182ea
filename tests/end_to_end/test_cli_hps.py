"""``hpcsearch hps`` with real searches on this machine, from the command to its exit code."""

from __future__ import annotations

import csv
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_bed import await_end, change, command, end_all_searches, finished, on_a_terminal, once_running
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import Standing
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.project import new_problem, start_project
from hpcsearch.submission.waiting import ended_with_this_process
from hpcsearch.workflow import open_workflow
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]

FILES = ("--problem", "problem.py", "--run", "model_run.py")

#: Evaluates as long as there is a file "slow" in the working directory.
SLOW_RUN = """\
import pathlib, time
def run(config):
    while pathlib.Path("slow").exists():
        time.sleep(0.02)
    return config["units"]
"""


def rows(file: Path) -> Sequence[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(autouse=True)
def nothing_left_running(search_files: Path) -> Iterator[None]:
    yield
    end_all_searches()


def test_a_search_in_the_foreground_and_one_more(search_files: Path) -> None:
    line = ("hps", "random", "--evaluator", "ray", "--num-workers", "2", "--max-evals", "6", "--seed", "1", *FILES)
    done = finished(*line)
    assert done.returncode == 0, done.stderr
    assert "Ray is not used" in done.stdout
    assert "6 of 6 evaluations ended, best " in done.stdout.splitlines()[-1]
    assert "\x1b" not in done.stdout
    assert open_workflow("random").counts() == {State.FINISHED: 6}
    first = rows(search_files / "results.csv")
    assert len(first) == 6 and list(first[0])[:4] == ["lr", "units", "id", "objective"]
    assert "the budget of evaluations is spent" in (search_files / "hpcsearch.log").read_text()

    again = finished("hps", "random", "--max-evals", "2", *FILES)
    assert again.returncode == 0, again.stderr
    assert "Ray" not in again.stdout
    assert "those that were here before are in workflows/random." in again.stdout
    assert len(rows(search_files / "results.csv")) == len(open_workflow("random-2").best(9)) == 2
    assert rows(search_files / "workflows" / "random" / "results.csv") == first


def test_in_a_project_the_name_is_enough(search_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder in which neither the package nor its modules can be imported by themselves."""
    project = start_project(Path("my_project"))
    monkeypatch.chdir(project.root)
    new_problem("light")
    (project.folder / "light" / "model_run.py").write_text(
        "from load_data import __name__ as bare\n"
        "from my_project.light.load_data import __name__ as full\n"
        "def run(point): return {'objective': point['lr'], 'names': f'{bare} {full}'}\n"
    )
    monkeypatch.chdir(project.folder)
    done = finished("hps", "random", "light-1", "--max-evals", "2")
    assert done.returncode == 0, done.stderr
    assert f"Taking problem.py and model_run.py in {project.folder / 'light'}." in done.stdout
    assert open_workflow("light-1").best()[0].metadata == {"names": "load_data my_project.light.load_data"}
    submitted = finished(*"submit hps light -n 1 -t 5 -q local --search random --max-evals 2 --wait".split())
    assert submitted.returncode == 0, submitted.stderr
    assert open_workflow("light").counts() == {State.FINISHED: 2}
    taken = finished("hps", "random", "light", "--max-evals", "2")
    assert taken.returncode == 2
    assert "'light' exists already" in taken.stderr


def test_a_strategy_that_was_left_out_is_asked_for(search_files: Path) -> None:
    done = finished("hps", "polynome2")
    assert done.returncode == 2
    assert "There is no search strategy 'polynome2'.\nKnown strategies: ambs, " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("amps",), 2, "There is no search strategy 'amps'. Did you mean ambs?\nKnown strategies: ambs, "),
        (("random", "--search-arg", "kappa=1"), 2, "has no argument 'kappa'"),
        (("random", "--num-workers", "0"), 2, "'--num-workers': 0 is not in the range"),
        (("random", "--num-workers", "two"), 2, "'two' is not a valid whole number."),
        (("random", "--evaluator", "balsam"), 2, "'balsam' is not one of 'local', 'ray'."),
        (("random", "--time", "soon"), 2, "'soon' is no walltime"),
        (("random", "--run", "nowhere.py"), 4, "nowhere.py"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: tuple[str, ...], code: int, sentence: str, search_files: Path
) -> None:
    done = finished("hps", arguments[0], *FILES, *arguments[1:])
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    left = {entry.name for entry in search_files.iterdir()} - {"__pycache__"}
    assert left <= {"model_run.py", "problem.py", "workflows"}
    assert not list(search_files.glob("workflows/*"))


@pytest.mark.parametrize("name", ["results.csv", "hpcsearch.log"])
def test_a_file_in_the_way_is_left_alone(name: str, search_files: Path) -> None:
    file = search_files / name
    file.write_text("mine")
    done = finished("hps", "random", "--max-evals", "1", *FILES)
    assert done.returncode == 2
    assert f"There is a file {file} already" in done.stderr
    assert file.read_text() == "mine"
    assert not (search_files / "workflows").exists()
    file.unlink()
    file.symlink_to(search_files / "problem.py")
    assert finished("hps", "random", "--max-evals", "1", *FILES).returncode == 2
    assert file.readlink() == search_files / "problem.py"


def test_more_workers_than_cores_share_them(search_files: Path) -> None:
    workers = len(os.sched_getaffinity(0)) + 1
    done = finished("hps", "random", "--num-workers", str(workers), "--max-evals", "2", *FILES)
    assert done.returncode == 0, done.stderr
    assert f"{workers} workers share the {workers - 1} cores" in done.stdout


def test_a_search_of_which_nothing_finishes(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("def run(config): raise ValueError('it diverged')\n")
    done = finished("hps", "random", "--max-evals", "2", *FILES)
    assert done.returncode == 1
    assert "The first one said: ValueError: it diverged" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_search_ends_with_its_command_and_goes_on_with_resume(number: int, search_files: Path) -> None:
    (search_files / "model_run.py").write_text(SLOW_RUN)
    (search_files / "slow").touch()
    line = command("hps", "random", "poly", "--max-evals", "3", *FILES, "--root", "elsewhere")
    searching = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    layout = once_running(Path("elsewhere", "poly"))
    try:
        os.kill(searching.pid, number)
        _, said = searching.communicate(timeout=60)
        assert searching.returncode == 130
        assert f"It goes on from here with 'hpcsearch resume {layout.root} --wait'." in said
        assert "Traceback" not in said
        snapshot = take_snapshot(layout)
        assert (snapshot.allocations[0].standing, snapshot.ended) == (Standing.ENDED, 0)
    finally:
        (search_files / "slow").unlink()
        finished("cancel", str(layout.root))
    resumed = finished("resume", str(layout.root), "--wait")
    assert resumed.returncode == 0, resumed.stderr
    assert len(rows(search_files / "results.csv")) == 3


def test_an_interrupt_in_the_middle_of_a_look_keeps_nobody_from_recording(make_workflow: MakeWorkflow) -> None:
    layout = make_workflow()

    class Search:
        """One whose driver records its end when it is told to end."""

        numbers = (1,)

        def __init__(self) -> None:
            self.layout = layout

        def cancel(self, check: bool) -> None:
            change(layout, state="ENDED", ended_at=time.time())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    search: Any = Search()
    event.listen(Engine, "after_execute", interrupt)
    with pytest.raises(KeyboardInterrupt), ended_with_this_process(search):
        try:
            take_snapshot(layout)
        finally:
            event.remove(Engine, "after_execute", interrupt)
    assert take_snapshot(layout).allocations[0].standing is Standing.ENDED


@pytest.mark.parametrize(
    ("variables", "bar", "colour"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_on_a_terminal_there_is_a_bar(variables: dict[str, str], bar: bool, colour: bool, search_files: Path) -> None:
    variables = {"NO_COLOR": "", "COLORTERM": "", **variables}
    code, shown = on_a_terminal("hps", "random", "--max-evals", "2", *FILES, **variables)
    assert code == 0, shown
    assert "2 of 2 evaluations ended, best " in shown
    assert ("━" in shown) == bar
    assert ("\x1b[3" in shown or "\x1b[9" in shown) == colour


def test_the_search_ends_with_its_terminal(search_files: Path) -> None:
    (search_files / "model_run.py").write_text(SLOW_RUN)
    (search_files / "slow").touch()
    main, end = pty.openpty()
    line = command("hps", "random", "--max-evals", "2", *FILES)
    with subprocess.Popen(line, stdout=end, stderr=end, process_group=0) as searching:
        os.close(end)
        layout = once_running(Path("workflows", "random"))
        os.close(main)
        os.kill(searching.pid, signal.SIGHUP)
        searching.wait(timeout=60)
    await_end(layout)
