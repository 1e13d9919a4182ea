"""What a driver that is started again knows of the nodes that were given back before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcsearch.allocation import shrunk


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCSEARCH_DEADLINE", "1000")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-4]")
    monkeypatch.setenv("SLURM_TASKS_PER_NODE", "1(x4)")


def test_a_job_that_gave_nothing_back_is_as_it_was(tmp_path: Path) -> None:
    assert shrunk.recall(tmp_path) == frozenset()
    assert os.environ["SLURM_JOB_NODELIST"] == "n[1-4]"


def test_nodes_stay_gone_and_launchers_know_the_smaller_job(tmp_path: Path) -> None:
    shrunk.note(tmp_path, ["n4"], {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_TASKS_PER_NODE": None})
    shrunk.note(tmp_path, ["n2", "n3"], {"SLURM_JOB_NODELIST": "n1"})
    assert shrunk.recall(tmp_path) == {"n2", "n3", "n4"}
    assert os.environ["SLURM_JOB_NODELIST"] == "n1"
    assert "SLURM_TASKS_PER_NODE" not in os.environ


def test_a_job_that_is_queued_again_has_all_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrunk.note(tmp_path, ["n4"], {"SLURM_JOB_NODELIST": "n[1-3]"})
    monkeypatch.setenv("HPCSEARCH_DEADLINE", "2000")
    assert shrunk.recall(tmp_path) == frozenset()
    assert os.environ["SLURM_JOB_NODELIST"] == "n[1-4]"
    shrunk.note(tmp_path, ["n3"], {})
    assert shrunk.recall(tmp_path) == {"n3"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": "1000"}'])
def test_a_file_that_cannot_be_read_is_told_and_passed_over(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    shrunk.note(tmp_path, ["n4"], {})
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert shrunk.recall(tmp_path) == frozenset()
    assert "cannot be read" in caplog.text
