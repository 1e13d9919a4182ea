"""What is asked of this machine's environment before evaluations with several ranks are submitted."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from hpcsearch import horovod
from hpcsearch.errors import UsageError
from hpcsearch.submission.ranks import refuse_missing_library, started_by_mpi
from hpcsearch.submission.request import Request


def request(**changes: Any) -> Request:
    return Request("w", "problem.py", "run.py", 1, 600, "q", "a", **changes)


@pytest.mark.parametrize(("library", "title"), [("horovod", "Horovod"), ("torch", "PyTorch")])
def test_a_library_that_is_not_installed(library: str, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(UsageError, match=f"needs {title}, which is not installed here"):
        refuse_missing_library(request(data_parallel=library))
    refuse_missing_library(request(data_parallel="tensorflow"))
    refuse_missing_library(request())


@pytest.mark.parametrize(
    ("job_mode", "library", "built_with_mpi", "launched"),
    [
        ("mpi", "horovod", True, True),
        ("mpi", "horovod", False, False),
        ("mpi", "torch", True, False),
        ("serial", "horovod", True, False),
        ("mpi", None, True, False),
    ],
)
def test_mpi_starts_the_ranks_of_a_horovod_that_was_built_with_it(
    job_mode: str, library: str | None, built_with_mpi: bool, launched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = horovod.Build("0.28.1", ("torch",), gloo=True, mpi=built_with_mpi, nccl=False)
    monkeypatch.setattr(horovod, "build", lambda: build)
    assert started_by_mpi(request(job_mode=job_mode, data_parallel=library)) is launched
