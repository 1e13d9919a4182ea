"""The pages of other projects: who may connect, what they show of a workflow, and how they follow it."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dashboard_bed import LIMIT_S, served
from optuna.trial import TrialState
from results_bed import make
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard_bed import write
from workflow_bed import commit, ended, finish, started, take_lease

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.dashboards.optuna_mirror import OptunaMirror
from hpcsearch.dashboards.tensorboard_mirror import TensorBoardMirror
from hpcsearch.evaluation import State
from hpcsearch.tensorboard.scalars import read_scalars
from hpcsearch.workflow import database
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.store import Batch


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make(tmp_path / "workflows")


def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives once that is true."""
    ends_at_s = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < ends_at_s, "it has not come true in a minute"
        time.sleep(0.1)
    return found


class Web(http.client.HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def ask(path: Path, url: str, method: str = "GET", host: str = "localhost:8080") -> tuple[int, str]:
    """Status and body."""
    web = Web(path)
    try:
        web.request(method, url, headers={"Host": host})
        answer = web.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        web.close()


def listening(process: int) -> list[str]:
    """The TCP sockets that a process, or a child of its, listens on."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    inodes = set()
    for pid in [str(process), *children]:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            found = re.fullmatch(r"socket:\[(\d+)\]", str(fd.readlink())) if fd.is_symlink() else None
            inodes |= {found[1]} if found else set()
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.parametrize("command", ["dashboard", "tensorboard"])
def test_only_its_user_can_connect_and_nothing_is_left(layout: Layout, command: str) -> None:
    with served(command, layout) as (process, path, printed):
        assert f"Only {getpass.getuser()} can connect." in printed
        assert ask(path, "/")[0] in (200, 302)
        assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
        assert listening(process.pid) == []
        assert ask(path, "/", host="evil.example:8080")[0] == 421
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
        assert not path.parent.exists()


@pytest.mark.parametrize("command", ["dashboard", "tensorboard"])
def test_another_user_of_the_machine_is_refused(layout: Layout, command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    connect = (
        "import os, socket, sys\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(int(sys.argv[2]))\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except OSError as error: print(type(error).__name__)\n"
        "else: print('connected')"
    )
    with served(command, layout) as (_, path, _):

        def connecting(user: int) -> str:
            argv = [sys.executable, "-c", connect, str(path), str(user)]
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

        assert (connecting(0), connecting(65534)) == ("connected\n", "PermissionError\n")


def test_the_dashboard_shows_the_workflow_and_changes_nothing(layout: Layout) -> None:
    before = layout.database.read_bytes()
    with served("dashboard", layout) as (_, path, _):
        (study,) = json.loads(ask(path, "/api/studies")[1])["study_summaries"]
        assert (study["study_name"], study["directions"]) == ("poly", ["maximize"])
        url = f"/api/studies/{study['study_id']}"
        trials = json.loads(ask(path, url)[1])["trials"]
        assert [(trial["state"], trial.get("values")) for trial in trials] == [
            ("Complete", [0.25]),
            ("Fail", None),
            ("Complete", [0.75]),
        ]
        assert ask(path, url, "DELETE")[0] == 405 and ask(path, "/api/studies", "POST")[0] == 405
    assert layout.database.read_bytes() == before


def test_the_study_follows_the_database(tmp_path: Path) -> None:
    points = [{"lr": 0.1, "n": 1}, {"lr": 0.2, "n": 2}, {"lr": 0.15, "n": 2}]
    layout = make(tmp_path, points, [{"objective": 1.0}], [(1, 1.0, {"loss": 3.0}), (1, 2.0, {"loss": 2.0})])
    engine = database.writer(layout.database)
    token = take_lease(engine)
    mirror = OptunaMirror(layout, 100)

    def trials() -> list[tuple[TrialState, Any, dict[str, Any]]]:
        found = mirror._storage.get_all_trials(mirror._study)
        return [(trial.state, trial.values, trial.params) for trial in found]

    assert trials() == [(TrialState.COMPLETE, [1.0], points[0])]
    assert mirror._storage.get_all_trials(mirror._study)[0].intermediate_values == {1: 3.0, 2: 2.0}
    begun = [ended(number)["started_at"] for number in (2, 3)]
    starts = [started(number, at=at) for number, at in zip((2, 3), begun, strict=True)]
    commit(engine, token, Batch(started=starts))
    mirror.refresh()
    assert trials()[1:] == [(TrialState.RUNNING, None, points[1]), (TrialState.RUNNING, None, points[2])]
    told = [{"evaluation": 2, "attempt": 1, "step": 1.0, "at": 1.0, "metrics": json.dumps({"loss": 0.5})}]
    stop = ended(3, state=State.STOPPED.value, objective=None)
    commit(engine, token, Batch(ended=[ended(2, objective=7.0), stop], reports=told))
    mirror.refresh()
    mirror.refresh()
    assert trials()[1:] == [(TrialState.COMPLETE, [7.0], points[1]), (TrialState.PRUNED, None, points[2])]
    assert mirror._storage.get_all_trials(mirror._study)[1].intermediate_values == {1: 0.5}
    engine.dispose()


def test_a_large_workflow_is_thinned_out_and_its_best_are_kept(tmp_path: Path) -> None:
    count = 40
    outcomes = [{"objective": float(number)} for number in range(count)]
    layout = make(tmp_path, [{"x": number} for number in range(count + 1)], outcomes, ())
    mirror = OptunaMirror(layout, 10)
    assert mirror.left_out == 30
    shown = [trial.params["x"] for trial in mirror._storage.get_all_trials(mirror._study)]
    assert len(shown) == 10 and count - 1 in shown
    engine = database.writer(layout.database)
    token = take_lease(engine)
    finish(engine, token, ended(count + 1))
    engine.dispose()
    mirror.refresh()
    assert len(mirror._storage.get_all_trials(mirror._study)) == 11


def hparams(run: Path) -> dict[str, Any]:
    """What the HParams plug-in reads in a run: its hyperparameters and its status."""
    found: dict[str, Any] = {}
    for file in sorted(run.glob("events*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    if data.HasField("session_end_info"):
                        found["status"] = data.session_end_info.status
                    for name, one in data.session_start_info.hparams.items():
                        found[name] = getattr(one, one.WhichOneof("kind"))
    return found


def test_tensorboard_runs_have_hyperparameters_objective_and_what_the_evaluation_wrote(
    tmp_path: Path, layout: Layout
) -> None:
    logdir = layout.evaluation(3) / "tensorboard" / "lr=1"
    logdir.mkdir(parents=True)
    write(logdir, "loss", [3.0, 2.0])
    write(logdir / "train", "loss", [9.0])
    (folder := tmp_path / "runs").mkdir()
    mirror = TensorBoardMirror(layout, folder, 10)
    assert mirror.left_out == 0
    first, failed, third = sorted(folder.iterdir(), key=lambda run: int(run.name.partition(",")[0]))
    assert third.name == "3,activation=relu,bias=True,depth=1,lr=1,mode=0.5,units=30"
    assert hparams(third) == {
        "activation": "relu",
        "bias": True,
        "depth": 1.0,
        "lr": 1.0,
        "mode": 0.5,
        "units": 30.0,
        "status": 1,
    }
    assert (hparams(first)["status"], hparams(failed)["status"]) == (1, 2)
    scalars = {name: [one.value for one in values] for name, values in read_scalars(third).items()}
    assert scalars == {"objective": [0.75], "loss": [3.0, 2.0]}  # links to folders are followed by TensorBoard alone
    assert (third / "train").resolve() == logdir / "train"
    (few := tmp_path / "few").mkdir()
    assert TensorBoardMirror(layout, few, 1).left_out == 2
    assert [run.name.partition(",")[0] for run in few.iterdir()] == ["3"]


def test_tensorboard_follows_what_runs(tmp_path: Path) -> None:
    layout = make(tmp_path, [{"lr": 0.5}, {"lr": 0.25}], [{"objective": 1.0}], ())
    engine = database.writer(layout.database)
    token = take_lease(engine)
    (folder := tmp_path / "runs").mkdir()
    mirror = TensorBoardMirror(layout, folder, 10)
    commit(engine, token, Batch(started=[started(2)]))
    mirror.refresh()
    run = folder / "2,lr=0.25"
    assert hparams(run) == {"lr": 0.25}
    logdir = layout.evaluation(2) / "tensorboard" / "lr=0.25"
    logdir.mkdir(parents=True)
    write(logdir, "loss", [4.0])
    mirror.refresh()
    assert [one.value for one in read_scalars(run)["loss"]] == [4.0]
    commit(engine, token, Batch(ended=[ended(2, objective=3.0)]))
    mirror.refresh()
    mirror.refresh()
    assert hparams(run) == {"lr": 0.25, "status": 1}
    assert [one.value for one in read_scalars(run)["objective"]] == [3.0]
    engine.dispose()


def test_tensorboard_itself_shows_them(layout: Layout) -> None:
    logdir = layout.evaluation(3) / "tensorboard" / "lr=1"
    write(logdir / "train", "loss", [9.0])
    with served("tensorboard", layout) as (_, path, _):

        def tags() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(ask(path, "/data/plugin/scalars/tags")[1])
            return found if len(found) == 3 else {}

        shown = until(tags)
        name = "3,activation=relu,bias=True,depth=1,lr=1,mode=0.5,units=30"
        assert list(shown[name]) == ["objective"] and list(shown[f"{name}/train"]) == ["loss"]
        assert json.loads(ask(path, "/data/plugins_listing")[1])["hparams"]["enabled"]


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("dashboard", "optuna_dashboard", "dashboard"), ("tensorboard", "waitress", "tensorboard")],
)
def test_without_the_extra_a_sentence_says_what_to_type(
    layout: Layout,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    missing: str,
    extra: str,
) -> None:
    monkeypatch.setattr("hpcsearch.dashboards.serving.find_spec", lambda name: None if name == missing else True)
    assert run(hpcsearch_command, [command, str(layout.root)], "hpcsearch") == 2
    told = capsys.readouterr().err
    assert f"needs {missing}" in told and f"pip install 'hpcsearch[{extra}]'" in told


def test_wrong_options_are_sentences(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["dashboard", str(layout.root), "--port", "99999"], "99999 is not in the range"),
        (["tensorboard", str(layout.root), "--evals", "0"], "0 is not in the range"),
        (["dashboard", "nothing"], "There is no workflow 'nothing'"),
    ):
        assert run(hpcsearch_command, arguments, "hpcsearch") != 0
        assert words in capsys.readouterr().err
