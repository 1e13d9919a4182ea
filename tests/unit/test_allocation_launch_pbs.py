"""Nodes and agents inside a PBS job."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.allocation import launch, release
from hpcsearch.allocation.launch import AGENT, Host
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.peer import Peer
from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.errors import AllocationError
from hpcsearch.schedulers import launchers
from hpcsearch.schedulers.launchers import Found

HERE = socket.gethostname()
SHELL = "/package/tmrsh.sh"


@pytest.fixture
def node_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "nodes"
    file.write_text(f"{HERE}.hill.example\n{HERE}.hill.example\nn2.hill.example\nn2.hill.example\n\n")
    monkeypatch.setenv("PBS_NODEFILE", str(file))
    return file


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has a launcher of a kind be found, or none, beside PBS's task manager."""

    def use(kind: str) -> None:
        monkeypatch.setattr(launchers, "find", lambda asked, program: Found(kind, f"/bin/{kind}") if kind else None)
        monkeypatch.setattr(launchers, "remote_shell", lambda: SHELL)

    return use


@pytest.mark.parametrize("kind", ["pals", "hydra", "openmpi", "auto"])
def test_the_node_file_names_each_node_once(node_file: Path, kind: str) -> None:
    assert launch.hosts(Launch(kind)) == [Host(f"{HERE}.hill.example"), Host("n2.hill.example")]


def test_a_node_file_that_is_not_there(node_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_file.unlink()
    with pytest.raises(AllocationError, match="cannot be read"):
        launch.hosts(Launch("hydra"))
    monkeypatch.delenv("PBS_NODEFILE")
    with pytest.raises(AllocationError, match="does not tell the nodes"):
        launch.hosts(Launch("hydra"))


@pytest.mark.parametrize("kind", ["pals", "hydra", "openmpi", "auto"])
def test_the_driver_s_own_node_needs_no_launcher(found: Callable[[str], None], kind: str) -> None:
    found("")
    argv = launch.agent_argv(Host(f"{HERE}.hill.example"), Launch(kind))
    assert argv == list(AGENT)
    assert not launch.is_launched(argv, Launch(kind))
    assert launch.environment_for(argv, Launch(kind)) is None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pals", ["--hosts", "n2", "-n", "1", "--ppn", "1", "--cpu-bind", "none"]),
        ("hydra", ["-launcher", "ssh", "-launcher-exec", SHELL, "-hosts", "n2", "-n", "1", "-bind-to", "none"]),
    ],
)
def test_an_agent_has_another_node_whole(found: Callable[[str], None], kind: str, options: list[str]) -> None:
    found(kind)
    for asked in (kind, "auto"):
        argv = launch.agent_argv(Host("n2"), Launch(asked, ("--extra",)))
        assert argv == [f"/bin/{kind}", *options, "--extra", *AGENT]
        assert launch.is_launched(argv, Launch(asked))


@pytest.mark.parametrize("uid", [0, 1000])
def test_open_mpi_takes_the_environment_along_but_not_pbs_s(
    found: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    for name in os.environ:
        monkeypatch.delenv(name)
    for name in ("HOME", "PBS_JOBID", "OMPI_MCA_btl", "BASH_FUNC_f%%"):
        monkeypatch.setenv(name, "x")
    found("openmpi")
    argv = launch.agent_argv(Host("n2"), Launch("openmpi"))
    assert argv[: argv.index("--host")] == (
        ["/bin/openmpi", "--mca", "plm_rsh_agent", SHELL, "--mca", "plm", "^tm", "--mca", "ras", "^tm"]
        + ([] if uid else ["--allow-run-as-root"])
    )
    assert argv[argv.index("--host") :] == ["--host", "n2", "-n", "1", "--bind-to", "none", "-x", "HOME", *AGENT]


@pytest.mark.parametrize(
    ("value", "told"), [("0,1", True), ("", True), ("GPU-0c69b35c-49f6", False), ("MIG-1a", False)]
)
def test_other_nodes_are_not_told_the_names_of_this_one_s_gpus(
    found: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, value: str, told: bool
) -> None:
    found("openmpi")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    argv = launch.agent_argv(Host("n2"), Launch("openmpi"))
    environment = launch.environment_for(argv, Launch("openmpi")) or {}
    assert ("CUDA_VISIBLE_DEVICES" in environment) is told
    assert ("CUDA_VISIBLE_DEVICES" in argv) is told
    assert environment["PATH"] == os.environ["PATH"]


def test_nodes_that_take_ssh_are_reached_by_it(found: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("hydra", "openmpi"):
        found(kind)
        monkeypatch.setattr(launchers, "remote_shell", lambda: "")
        assert not [word for word in launch.agent_argv(Host("n2"), Launch(kind)) if "launcher" in word or "rsh" in word]


def test_a_launcher_that_is_missing_is_said(found: Callable[[str], None]) -> None:
    found("")
    with pytest.raises(AllocationError, match="No launcher of kind 'pals'") as error:
        launch.agent_argv(Host("n2"), Launch("pals"))
    assert "module" in error.value.hint


def test_a_site_that_takes_no_nodes_back_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCSEARCH_SCHEDULER_ID", "7.head")
    plan = Plan("poly", "/poly", 1, "polaris", "run", ("x",), "/", "serial", 4, 600.0, release=False)
    with caplog.at_level(logging.INFO):
        assert release.prepare(Loop(), plan, ["n1", "n2"], lambda nodes: None, lambda nodes, at: None) is None
        assert release.prepare(Loop(), plan, ["n1"], lambda nodes: None, lambda nodes, at: None) is None
    assert caplog.messages == ["site polaris takes no nodes back early: all 2 stay to the end"]


# ---- the launcher's process


class Conversation:
    """A peer, and what it has said."""

    def __init__(self, code: str, *, own_session: bool) -> None:
        self.loop = Loop()
        self.said: list[Any] = []
        self.ended = False
        argv = [sys.executable, "-S", "-c", code]
        self.peer = Peer(self.loop, argv, self.said.append, self._end, own_session=own_session)

    def _end(self) -> None:
        self.ended = True

    def until(self, said: int) -> None:
        while len(self.said) < said and not self.ended:
            self.loop.turn()


def test_a_launcher_is_out_of_reach_of_what_ends_the_session() -> None:
    """PBS ends a session; what is only in a group of its own is ended with it."""
    code = "import os; print([os.getsid(0), os.getpgid(0), os.getpid()], flush=True); input()"
    for own_session in (True, False):
        conversation = Conversation(code, own_session=own_session)
        conversation.until(said=1)
        session, group, pid = conversation.said[0]
        assert group == pid
        assert session == (pid if own_session else os.getsid(0))
        conversation.peer.stop(patience_s=5.0)


def test_what_a_launcher_says_of_its_own_is_no_message(caplog: pytest.LogCaptureFixture) -> None:
    code = "print('[1]\\n\\n= BAD TERMINATION OF ONE\\n[2]', flush=True); print('\\xff', flush=True); print('[3]')"
    conversation = Conversation(code, own_session=True)
    conversation.until(said=3)
    conversation.peer.stop(patience_s=5.0)
    assert conversation.said == [[1], [2], [3]]
    assert "BAD TERMINATION" in caplog.text
    assert len(caplog.records) == 2


def test_hanging_up_is_the_end_of_the_other_s_input() -> None:
    code = "import sys; print(1, flush=True); print(sys.stdin.read().count('\\n') + 1, flush=True)"
    conversation = Conversation(code, own_session=True)
    conversation.until(said=1)
    conversation.peer.send("hello")
    conversation.peer.hang_up()
    conversation.until(said=2)
    assert conversation.said == [1, 2]
    assert conversation.peer.stop(patience_s=5.0) == 0
    conversation.peer.hang_up()


@pytest.mark.parametrize("module", ["hpcsearch.search.server", "hpcsearch.allocation.recorder"])
def test_the_driver_s_helpers_outlive_the_signal_that_ends_a_session(module: str) -> None:
    """The driver alone decides when they end."""
    with subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE) as process:
        while not _ignores_sigterm(process.pid):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()


def _ignores_sigterm(pid: int) -> bool:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(fields["SigIgn"], 16) & 1 << signal.SIGTERM - 1)
