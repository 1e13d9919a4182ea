"""An agent on another node through PBS's task manager alone, which passes on neither input nor output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcsearch.allocation import launch
from hpcsearch.allocation.launch import AGENT, Host
from hpcsearch.allocation.plan import Launch

#: As pbs_tmrsh: no shell, the job's environment instead of the caller's, and the caller's streams stay here.
_TMRSH = """#!/bin/sh
echo "$1" >>{folder}/nodes
shift
exec env -i PBS_JOBCOOKIE={cookie} PBS_NODENUM=1 TMPDIR=/far "$@" </dev/null >/dev/null
"""

Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Starts Python code on node n2, with a pipe to each side."""
    (tmp_path / "node_file").write_text("localhost\nn2\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "node_file"))
    monkeypatch.setenv("PBS_JOBCOOKIE", "secret")
    monkeypatch.setenv("PBS_NODENUM", "0")
    monkeypatch.setenv("ODD", "a 'b'\nc\udcff")
    tmrsh = tmp_path / "pbs_tmrsh"

    def start(code: str, *, body: str = _TMRSH, cookie: str = "secret") -> subprocess.Popen[str]:
        tmrsh.write_text(body.format(folder=tmp_path, cookie=cookie))
        tmrsh.chmod(0o755)
        argv = [*launch._TM, str(tmrsh), "n2", sys.executable, "-S", "-c", code]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="surrogateescape")

    return start


def test_both_ways_and_the_driver_s_environment(begin: Begin, tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        "for line in sys.stdin: print(json.dumps([line.strip(), dict(os.environ)]), flush=True)\n"
        "sys.exit(7)"
    )
    with begin(code) as process:
        assert process.stdin and process.stdout
        for word in ("one", "two" * 100_000):
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
            said, environment = json.loads(process.stdout.readline())
            assert said == word
        assert environment["ODD"] == os.environ["ODD"]
        assert environment["PATH"] == os.environ["PATH"]
        assert (environment["PBS_NODENUM"], environment["TMPDIR"]) == ("1", "/far"), "what the far node has of its own"
        process.stdin.close()
        assert process.wait() == 7, "the end of the input reaches the far side, and its status comes back"
    assert (tmp_path / "nodes").read_text() == "n2\n"


def test_it_ends_with_the_far_side(begin: Begin) -> None:
    """The node is given back only then."""
    with begin("import os; os.close(0); print(1, flush=True)") as process:
        assert process.stdout
        assert process.stdout.read() == "1\n"
        assert process.wait() == 0


def test_a_node_that_cannot_be_reached_is_an_end(begin: Begin) -> None:
    with begin("", body="#!/bin/sh\necho 'pbs_tmrsh: no such node' >&2\nexit 255\n") as process:
        _, said = process.communicate()
    assert process.returncode == 255
    assert "no such node" in said


def test_who_does_not_know_the_job_s_cookie_is_not_listened_to(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    with begin("", cookie="guess") as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert "cannot reach the driver" in said
    monkeypatch.delenv("PBS_JOBCOOKIE")
    with begin("") as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert "no PBS_JOBCOOKIE" in said


def test_the_kind_tm_needs_no_mpi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmrsh = tmp_path / "pbs_tmrsh"
    tmrsh.write_text("#!/bin/sh\necho pbs_version = 23.06.06\n")
    tmrsh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    for kind in ("tm", "auto"):
        argv = launch.agent_argv(Host("n2"), Launch(kind))
        assert argv == [*launch._TM, str(tmrsh), "n2", *AGENT]
        assert launch.is_launched(argv, Launch(kind))
