"""What the machine refuses: no space, no folder to be in, no output."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcsearch.cli.surroundings import as_sentence

PROGRAM = [sys.executable, "-m", "hpcsearch.cli"]


def shell(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell, in which ``"$@"`` is the program with its arguments."""
    return subprocess.run(
        ["sh", "-c", text, "sh", *PROGRAM, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [("ls",), ("status", "poly"), ("start-project", "mine"), ("new-problem", "hps", "mine"), ("topk", "results.csv")],
)
def test_a_current_folder_that_is_gone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell(f'cd {gone} && rmdir {gone} && exec "$@"', *arguments)
    assert done.returncode == 3
    assert done.stderr.endswith(
        "Error: The current folder is gone: it was removed or moved.\nType 'cd' to one that is there.\n"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("config", "show", "--format", "json")])
def test_a_full_disk_behind_the_output(arguments: tuple[str, ...], search_files: Path) -> None:
    done = shell('exec "$@" >/dev/full', *arguments)
    assert done.returncode == 7
    assert done.stderr == (
        "Error: What is printed cannot be written: No space left on device.\nMake room there, or write elsewhere.\n"
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [("--help",), ("ls",), ("config", "show")])
def test_streams_that_are_closed(closed: str, arguments: tuple[str, ...], search_files: Path) -> None:
    done = shell(f'exec "$@" {closed}', *arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_to_be_asked(search_files: Path) -> None:
    (search_files / "workflows" / "poly").mkdir(parents=True)
    done = shell('exec "$@" <&-', "submit", "hps", "poly", *"-p problem.py -r model_run.py -n 1 -t 5 -q local".split())
    assert done.returncode == 2
    assert "exists already" in done.stderr


def test_a_folder_whose_name_is_no_text(search_files: Path) -> None:
    odd = os.fsdecode(os.fsencode(search_files) + b"/\xff")
    Path(odd).mkdir()
    done = shell('exec "$@"', *"submit hps poly -p problem.py -r model_run.py -n 1 -t 5 -q local --root".split(), odd)
    assert done.returncode == 2
    assert "/\\udcff/poly' cannot be written into a job script" in done.stderr
    assert not list(Path(odd).iterdir())


@pytest.mark.parametrize("locale", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_has_no_letters_for_is_spelt_out(locale: str, search_files: Path) -> None:
    done = shell(f'PYTHONIOENCODING={locale} exec "$@"', "ls", "--root", "a\u65e5b")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("a\u65e5b" if locale == "utf-8" else "a\\u65e5b") in done.stdout


def test_no_temporary_folder(search_files: Path) -> None:
    code = (
        "import resource, sys\n"
        "from hpcsearch.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "sys.argv[1:] = 'submit hps poly -p problem.py -r model_run.py -n 1 -t 5 -q local'.split()\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "Error: No usable temporary directory found in [" in done.stderr
    assert "set TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_written_is_named() -> None:
    told = as_sentence(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x"))
    assert told is not None
    assert told.message == "/scratch/x cannot be written: No space left on device."


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EBADF])
def test_a_fault_of_our_own_is_none_of_them(number: int) -> None:
    assert as_sentence(OSError(number, os.strerror(number), "x")) is None
