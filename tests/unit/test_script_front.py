"""From what is typed to what is run: which strategy, which space, which objective; and what is refused."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.cli.script import Duration
from hpcsearch.errors import HpcsearchError, LimitError, NotFoundError, UsageError
from hpcsearch.script.front import Asked, Prepared, prepared
from hpcsearch.script.requesting import request_of
from hpcsearch.script.script import Dimension
from hpcsearch.script.shares import evaluations_per_node
from hpcsearch.sites import NodeShape, Queue, Site

OPTIONS: dict[str, Any] = {
    "nodes": 1,
    "walltime_s": 600,
    "queue": "local",
    "account": "none",
    "site": None,
    "job_mode": "serial",
    "evals_per_node": None,
    "cpus": None,
    "gpus": None,
    "mem": None,
    "search_arguments": (),
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "train.py").write_text("lr = units = 1\nprint(lr, units)\nprint('fitness:', lr)\n")
    (folder / "plug.py").write_text("class Optimizer: ...\n")
    monkeypatch.chdir(folder)
    return folder / "train.py"


def prepare(*hyperparameters: str, answer: str | None = None, **asked: Any) -> Prepared:
    default = Asked("train.py", ("30",), hyperparameters)
    ask = None if answer is None else lambda _: answer
    with prepared(dataclasses.replace(default, **asked), Path("/nowhere"), ask) as made:
        assert {one.name for one in made.folder.iterdir()} == {"problem.py", "run.py", "script.json", "project"}
        return made


def test_without_more_it_is_a_grid_of_all_values(script: Path) -> None:
    made = prepare("lr=0:2", "units=2,5")
    assert (made.search, made.search_arguments) == ("grid", {})
    assert made.script.dimensions == (Dimension("lr", (0, 1, 2)), Dimension("units", (2, 5)))
    assert not made.folder.exists() and not made.script.minimize
    assert "+print(0, 2)" in made.trial()


def test_other_strategies_have_the_ends_as_bounds(script: Path) -> None:
    made = prepare("lr=1e-3:l4:1", "units=1:64", search="random")
    assert made.search == "random"
    assert made.script.dimensions == (Dimension("lr", (), 0.001, 1.0, log=True), Dimension("units", (), 1, 64))
    assert prepare("lr=relu,tanh", search="random").script.dimensions == (Dimension("lr", ("relu", "tanh")),)


def test_optimisers_have_bounds_of_their_own(script: Path) -> None:
    made = prepare("lr=0:5:l", "units=0:1:3:au", optimizer="cmaes")
    assert made.search == "cmaes"
    lr, units = made.script.dimensions
    assert (lr.log, lr.high, lr.middle, lr.beyond) == (True, 5.0, pytest.approx(5e-3), 0.0)
    assert (units.length, units.middle, units.beyond) == (3, 0.5, 1.0)
    assert made.notes == ["lr: a logarithmic scale cannot begin at 0; it begins at 5e-06."]
    plugin = prepare("lr=0:1:u", optimizer="plug.py:Optimizer")
    assert (plugin.search, plugin.search_arguments) == ("plugin", {"file": f"{script.parent}/plug.py:Optimizer"})
    assert plugin.script.dimensions[0].middle is None and plugin.script.dimensions[0].beyond > 100
    assert prepare("lr=0:3", optimizer="grid").script.dimensions[0].values == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("asked", "answer", "minimize"),
    [
        ({}, None, False),
        ({"direction": "min"}, None, True),
        ({"metric": "loss:min"}, None, True),
        ({"metric": "acc:max"}, None, False),
        ({"metric": "loss", "direction": "min"}, None, True),
        ({"metric": "loss"}, "min", True),
        ({"metric": "acc"}, "max", False),
    ],
)
def test_the_direction(script: Path, asked: dict[str, Any], answer: str | None, minimize: bool) -> None:
    file = "log.csv" if "metric" in asked else ""
    assert prepare("lr=1", answer=answer, metric_file=file, **asked).script.minimize is minimize


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"hyperparameters": ()}, "nothing to search"),
        ({"hyperparameters": ("lr=1", "lr=2")}, "lr is given twice"),
        ({"hyperparameters": ("rate=1",)}, "never reads rate"),
        ({"search": "ambs", "optimizer": "de"}, "Both --search and --optimizer"),
        ({"search": "amsb"}, "no search strategy 'amsb'"),
        ({"optimizer": "plug.py"}, "The bounds 'lr=1'"),
        ({"metric": "loss", "metric_file": "log"}, "Nobody knows whether more or less of loss is better"),
        ({"metric_file": "log"}, "needs to know which of its values"),
        (
            {"metric": "loss:min", "direction": "max", "metric_file": "log"},
            "loss:min and --direction max differ",
        ),
        ({"metric": "loss:mean"}, "neither min nor max"),
        ({"capture": ("../x",)}, "--capture ../x leads out"),
        ({"capture": ("/x",)}, "--capture /x leads out"),
        ({"metric": "loss:min", "metric_file": "/tmp/log"}, "--metric-file /tmp/log leads out"),
        ({"copy_limit_bytes": 10}, "every search keeps a copy of it"),
        ({"script": "missing.py"}, "There is no script missing.py"),
    ],
)
def test_what_cannot_be_meant_is_refused(script: Path, asked: dict[str, Any], words: str) -> None:
    hyperparameters = asked.get("hyperparameters", ("lr=1",))
    with pytest.raises(HpcsearchError) as caught:
        prepare(*hyperparameters, **asked)
    assert words in caught.value.message
    assert caught.value.hint and (isinstance(caught.value, NotFoundError) or caught.value.exit_code == 2)


def test_a_name_that_results_have_already_is_refused_without_naming_files_that_nobody_has_seen(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text("state = 1\nprint(state)\n")
    arguments = ["submit", "script", "wf", "-n", "1", "-t", "5", "-q", "local", "-hp", "state=1", "train.py"]
    assert run(hpcsearch_command, arguments, "hpcsearch") == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: 'state' cannot be the name of a hyperparameter")
    assert not (script.parent / "workflows").exists()


def test_a_script_in_no_known_encoding_is_refused(script: Path) -> None:
    script.write_text("# -*- coding: klingon -*-\nprint(lr)\n")
    with pytest.raises(UsageError, match=r"train\.py cannot be read: unknown encoding"):
        prepare("lr=1")


def test_a_script_keeps_its_encoding_and_its_ends_of_lines(script: Path) -> None:
    script.write_bytes(b"# -*- coding: latin-1 -*-\r\nprint('\xe9', lr)")
    made = prepare("lr=1")
    assert made.text == "# -*- coding: latin-1 -*-\r\nprint('é', lr)"


def test_a_record_of_another_run_is_not_copied(script: Path) -> None:
    (script.parent / "log.csv").write_text("loss\n1\n")
    asked = Asked("train.py", (), ("lr=1",), metric="loss:min", metric_file="log.csv")
    with prepared(asked, Path("/nowhere"), None) as made:
        assert {one.name for one in (made.folder / "project").iterdir()} == {"train.py", "plug.py"}
    assert (script.parent / "log.csv").exists()


# ---- the request


def test_the_request_has_the_files_that_were_made(script: Path) -> None:
    made = prepare("lr=1")
    request = request_of("wf", made, {**OPTIONS, "search_arguments": (("points", "3"),)})
    assert request.problem == f"{made.folder}/problem.py" and request.source == str(made.folder)
    assert (request.evals_per_node, request.search, request.search_arguments) == (1, "grid", {"points": "3"})


def test_what_an_evaluation_needs_says_how_many_share_a_node(script: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert request_of("wf", prepare("lr=1"), {**OPTIONS, "cpus": 1}).evals_per_node == cores
    assert request_of("wf", prepare("lr=1"), {**OPTIONS, "cpus": cores, "mem": 1 << 20}).evals_per_node == 1
    with pytest.raises(UsageError, match="--cpus and --evals-per-node both"):
        request_of("wf", prepare("lr=1"), {**OPTIONS, "cpus": 1, "evals_per_node": 2})
    with pytest.raises(UsageError, match="job mode mpi would run a script once for each process"):
        request_of("wf", prepare("lr=1"), {**OPTIONS, "job_mode": "mpi"})


SITE = Site("big", "slurm", node=NodeShape(cores=64, reserved_cores=(0,), gpus=4), queues=(Queue("debug"),))


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"), [(4, None, 15), (None, 1, 4), (4, 2, 2), (63, 4, 1), (None, None, 1)]
)
def test_as_many_as_fit(cpus: int | None, gpus: int | None, expected: int) -> None:
    assert evaluations_per_node(SITE, "debug", cpus, gpus, None) == expected


def test_more_than_a_node_has_is_refused() -> None:
    with pytest.raises(LimitError, match=r"asks for 8 .*a node of big has 4"):
        evaluations_per_node(SITE, "debug", None, 8, None)
    with pytest.raises(UsageError, match="does not say how many MB of memory"):
        evaluations_per_node(SITE, "debug", None, None, 100)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5h", 18000), ("48h2m10s", 172930), ("30m", 1800), ("90", 90), ("1d", 86400), ("2s", 2)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds
