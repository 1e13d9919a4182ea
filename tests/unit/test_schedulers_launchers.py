"""Which launcher a program is, by its own word; and the remote shell over PBS's task manager."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcsearch.schedulers import launchers
from hpcsearch.schedulers.launchers import Found

HYDRA = "echo 'HYDRA build details:'"
INTEL = "echo 'Intel(R) MPI Library for Linux* OS, Version 2021.10 Build 20230619'"
OPEN_MPI = "echo 'mpiexec (OpenRTE) 4.1.4'"
OPEN_MPI_5 = "echo 'mpirun (Open MPI) 5.0.6'"
PALS = "echo 'mpiexec from PALS 1.2.12'"

Make = Callable[[str, str], str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a program with this body into the one folder of the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    monkeypatch.setattr("shutil.which", _which(folder))

    def put(name: str, body: str) -> str:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return str(program)

    return put


def _which(folder: Path) -> Callable[..., str | None]:
    """As shutil.which, in that folder alone: /bin has launchers on some machines."""

    def which(name: str, path: str | None = None) -> str | None:
        program = Path(path or folder) / name
        return str(program) if program.exists() else None

    return which


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (HYDRA, "hydra"),
        (INTEL, "hydra"),
        (OPEN_MPI, "openmpi"),
        (OPEN_MPI_5, "openmpi"),
        (PALS, "pals"),
        (f"{PALS} >&2", "pals"),
        ("echo hello; exit 1", ""),
    ],
)
def test_a_launcher_tells_its_kind(make: Make, body: str, kind: str) -> None:
    assert launchers.kind_of(make("mpiexec", body)) == kind


def test_a_launcher_of_the_kind_is_found_and_no_other(make: Make) -> None:
    other = make("mpiexec", OPEN_MPI)
    assert launchers.find("hydra") is None
    assert launchers.find("openmpi") == Found("openmpi", other)
    hydra = make("mpiexec.hydra", HYDRA)
    assert launchers.find("hydra") == Found("hydra", hydra)
    mine = make("mine", "exit 1")
    assert launchers.find("pals", "mine") == Found("pals", mine), "what tells nothing is believed"


def test_auto_takes_what_starts_faster(make: Make) -> None:
    assert launchers.find("auto") is None
    slow = make("mpirun", OPEN_MPI_5)
    assert launchers.find("auto") == Found("openmpi", slow)
    make("mpiexec", OPEN_MPI)
    fast = make("mpiexec.hydra", HYDRA)
    assert launchers.find("auto") == Found("hydra", fast)
    assert launchers.find("auto", "mpirun") == Found("openmpi", slow)


def test_one_that_is_beside_this_python_comes_last(make: Make, tmp_path: Path) -> None:
    beside = tmp_path / "env" / "mpiexec"
    beside.parent.mkdir()
    beside.write_text(f"#!/bin/sh\n{HYDRA}\n")
    beside.chmod(0o755)
    assert launchers.find("auto") == Found("hydra", str(beside))
    assert launchers.find("hydra") == Found("hydra", str(beside))
    assert launchers.find("hydra", "mpiexec") == Found("hydra", str(beside))
    on_path = make("mpiexec", INTEL)
    assert launchers.find("auto") == Found("hydra", on_path)


def test_a_remote_shell_over_pbs_takes_the_options_of_others(make: Make) -> None:
    assert launchers.remote_shell() == ""
    make("pbs_tmrsh", 'printf "<%s>" "$@"')
    shell = launchers.remote_shell()
    words = ["-x", "-n", "-l", "her", "-p", "22", "pn2", "echo", '"a b"', "&&", "pwd"]
    done = subprocess.run([shell, *words], capture_output=True, text=True, check=True)
    assert done.stdout == '<pn2></bin/sh><-c><echo "a b" && pwd>'
