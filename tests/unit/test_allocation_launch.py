"""Which nodes an allocation has, and the command that starts an agent there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation import launch
from hpcsearch.allocation.launch import AGENT, Host
from hpcsearch.allocation.plan import Launch
from hpcsearch.errors import AllocationError


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a command of that name, with this body, before all others."""

    def make(body: str) -> None:
        command = tmp_path / "scontrol"
        command.write_text(f"#!/bin/sh\n{body}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return make


def test_without_a_launcher_there_is_this_host() -> None:
    assert launch.hosts(Launch()) == [Host(socket.gethostname())]
    assert launch.agent_argv(Host("anything"), Launch()) == list(AGENT)


def test_slurm_tells_the_nodes(scontrol: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol('[ "$1 $2 $3" = "show hostnames n[1-3]" ] && printf "n1\\nn2\\nn3\\n"')
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-3]")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "72(x2),36")
    assert launch.hosts(Launch("srun")) == [Host("n1", 72), Host("n2", 72), Host("n3", 36)]
    monkeypatch.delenv("SLURM_JOB_CPUS_PER_NODE")
    assert launch.hosts(Launch("srun")) == [Host("n1"), Host("n2"), Host("n3")]


@pytest.mark.parametrize("body", ["exit 1", "true", "echo 'slurm_load: error' >&2; exit 1"])
def test_slurm_does_not_tell(scontrol: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    scontrol(body)
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    with pytest.raises(AllocationError, match="does not tell the nodes"):
        launch.hosts(Launch("srun"))


def test_an_agent_has_the_whole_node() -> None:
    argv = launch.agent_argv(Host("n2", 72), Launch("srun", ("--gpus=4",)))
    assert argv[0] == "srun" and argv[-len(AGENT) :] == list(AGENT)
    options = argv[1 : -len(AGENT)]
    assert {"--overlap", "-N1", "-n1", "-c72", "--cpu-bind=none", "--mem=0", "--gpus=4"} <= set(options)
    assert options[options.index("-w") + 1] == "n2"
    assert not [one for one in launch.agent_argv(Host("n2"), Launch("srun")) if one.startswith("-c")]


def test_a_launcher_that_nobody_knows() -> None:
    with pytest.raises(AllocationError, match="'teleport'") as caught:
        launch.hosts(Launch("teleport"))
    assert "srun" in caught.value.hint


@given(st.lists(st.tuples(st.integers(1, 512), st.integers(1, 5)), max_size=5))
def test_numbers_by_node(groups: list[tuple[int, int]]) -> None:
    text = ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in groups)
    assert launch.slurm_counts(text) == [count for count, times in groups for _ in range(times)]
