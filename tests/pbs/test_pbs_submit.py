"""``submit``, ``resume``, ``status`` and ``cancel`` on PBS, from the command line to what the server has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from allocation_bed import check_chain
from pbs_cluster import PbsCluster, wait_for

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.workflow.layout import Layout

#: The machine of these tests, described as an administrator would; nothing is asked twice within a poll interval.
SITE = """\
name = "lab"
scheduler = "pbs"
release = "pbs"
poll_interval_s = 1
open_queues = true
directives = ["-l place=scatter:excl"]
[launcher]
kind = "hydra"
"""

SLOW = "import time\ndef run(config):\n    time.sleep(60)\n    return 1.0\n"


@pytest.fixture(autouse=True)
def here(clients: None, search_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a search that lasts, on the site lab."""
    (search_files / "sites").mkdir()
    (search_files / "sites" / "lab.toml").write_text(SITE)
    monkeypatch.setenv("HPCSEARCH_SITE_PATH", str(search_files / "sites"))
    (search_files / "model_run.py").write_text(SLOW)
    return search_files


def hpcsearch(*arguments: str) -> int:
    return run(hpcsearch_command, arguments, "hpcsearch")


def submit(*options: str, queue: str = "batch", nodes: int = 1, minutes: str = "10") -> int:
    line = f"submit hps poly -p problem.py -r model_run.py --search random --site lab -n {nodes} -t {minutes}"
    return hpcsearch(*line.split(), "-q", queue, "-A", "lab", *options)


def snapshot() -> Snapshot:
    return take_snapshot(Layout(Path("workflows", "poly").absolute()))


def jobs() -> dict[str, Any]:
    """What PBS lists: waiting and running jobs."""
    told = subprocess.run(["qstat", "-f", "-F", "json"], capture_output=True, text=True, check=True).stdout
    return dict(json.loads(told).get("Jobs", {}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queue": "gone"}, "there is no such queue (Unknown queue)"),
        ({"queue": "debug", "nodes": 3}, "more than the queue or the server allows"),
        ({"queue": "debug", "minutes": "11"}, "more than the queue or the server allows"),
    ],
)
def test_what_is_refused_leaves_no_job_and_no_file(
    here: Path, options: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(**options) == 6
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 2, "a sentence, and what to type"
    assert not jobs()
    workflows = here / "workflows"
    assert not workflows.exists() or list(workflows.iterdir()) == []


def test_what_pbs_takes_and_never_starts_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit("--wait", nodes=9) == 9
    printed = capsys.readouterr()
    block = printed.out.partition("Submit OK")[2]
    assert "Allocation 1 was accepted, but: It asks for what there is not" in block
    assert "it will never start." in block
    assert "queued in vain. It asks for" in printed.err
    assert hpcsearch("cancel", "poly") == 0
    assert not jobs()


def test_a_chain_follows_and_is_cancelled_as_a_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit("--chain", "3") == 0
    first, second, third = (str(one.scheduler_id) for one in snapshot().allocations)
    assert f"allocations 2 ({second}), 3 ({third})." in capsys.readouterr().out
    assert jobs()[second]["depend"] == f"afterany:{first}@pbshead"
    assert jobs()[third]["depend"] == f"afterany:{second}@pbshead"
    check_chain(snapshot, hpcsearch, wait_for, lambda: not jobs(), capsys)


def test_a_chain_that_is_refused_in_the_middle_leaves_nothing(
    pbs: PbsCluster, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pbs.server.changing() as state:
        state.settings.queues["batch"].at_most = 2
    assert submit("--chain", "3") == 6
    printed = capsys.readouterr()
    assert "PBS refused the allocation: the queue holds as many of the user's jobs as it may" in printed.err
    wait_for(lambda: not jobs())
    assert list((here / "workflows").iterdir()) == []


def test_doctor_finds_all_that_is_needed(pbs: PbsCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("doctor", "--site", "lab") == 0
    told = capsys.readouterr().out
    assert re.search(r"scheduler: +OK +.*23\.06\.06", told)
    assert "reaches other nodes by pbs_tmrsh" in told
    with pbs.server.changing() as state:
        state.settings.down = True
    assert hpcsearch("doctor", "--site", "lab") == 1
    assert "PBS's server does not answer" in capsys.readouterr().out
