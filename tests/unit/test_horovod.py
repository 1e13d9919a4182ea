"""What is known of the Horovod that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpcsearch import horovod
from hpcsearch.doctor import Verdict, checks


@pytest.mark.horovod
def test_the_horovod_of_the_tests_tells_what_it_was_built_with() -> None:
    build = horovod.build()
    assert build.frameworks == ("torch",) and build.gloo
    assert str(build) == f"Horovod {build.version} for PyTorch, built with Gloo, without MPI and NCCL"


def test_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "horovod", raising=False)
    with pytest.raises(horovod.HorovodError, match="not installed"):
        horovod.build()
    assert checks._horovod(None).verdict is Verdict.OK  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "raise ImportError('built for another torch')",
            "Horovod cannot be loaded: ImportError: built for another torch",
        ),
        ("__version__ = '0.1'", "Horovod 0.1 cannot be loaded by any framework that is here."),
    ],
)
def test_one_that_cannot_be_used(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "horovod"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = checks._horovod(None)  # type: ignore[arg-type]
    assert (finding.verdict, finding.text) == (Verdict.LOOK, said)
    assert "tools/install-horovod" in finding.advice
