"""Runs the unit tests, and searches from the command to the results, under every other CPython >= 3.11 on this machine.

Each has an environment of its own, kept in .cache/pythons. Where one cannot be made (no network, no wheels for that
Python), what the nodes import is still imported under it, and that is said.

    python tests/other_pythons.py [what else to give to pytest]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "pythons"
OLDEST = (3, 11)

#: Where interpreters lie that are not on PATH.
FOLDERS = ("~/.pyenv/versions/*/bin", "/opt/python/*/bin", "/usr/local/bin", "/usr/bin")

#: Run where the dependencies cannot be installed: what stands on the standard library alone.
BARE = "import hpcsearch.worker.agent, hpcsearch.worker.slot, hpcsearch.runfunction"

#: What takes long tells little of a Python.
TESTS = ("-m", "pytest", "-q", "-m", "not horovod and not slow", "tests/unit", "tests/end_to_end/test_cli_wait.py")

#: As in the Makefile: what fails while other tests run beside it is run once more with nothing beside it.
AGAIN = ("--last-failed", "--last-failed-no-failures", "none")

_ASK = (
    "import platform, sys; "
    "print(platform.python_implementation(), *sys.version_info[:2], sys.prefix == sys.base_prefix)"
)


def interpreters() -> Iterator[tuple[tuple[int, int], Path]]:
    """One interpreter of each version but this one's."""
    seen = {sys.version_info[:2]}
    for candidate in _candidates():
        answer = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True, check=False).stdout.split()
        if len(answer) != 4 or answer[0] != "CPython" or answer[3] != "True":
            continue
        version = (int(answer[1]), int(answer[2]))
        if version >= OLDEST and version not in seen:
            seen.add(version)
            yield version, candidate


def _candidates() -> Iterator[Path]:
    for minor in range(11, 20):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield Path(found)
    for pattern in FOLDERS:
        home = Path(pattern).expanduser()
        for folder in Path(home.anchor).glob(str(home.relative_to(home.anchor))):
            yield from (entry for entry in sorted(folder.iterdir()) if re.fullmatch(r"python3\.\d+", entry.name))


def environment(python: Path, version: tuple[int, int]) -> Path | None:
    """The Python of an environment with the package and what its tests need; None when it cannot be made."""
    folder = CACHE / f"{version[0]}.{version[1]}"
    inside, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f"{ROOT}[test]"]
    for command in ([str(python), "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr.strip()[-1000:], file=sys.stderr)
            return None
    stamp.write_text(wanted, encoding="utf-8")
    return inside


def _runs(command: Sequence[str | Path]) -> bool:
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Tests under each; the number of Pythons under which something failed."""
    failed = []
    for version, python in interpreters():
        name = f"Python {version[0]}.{version[1]}"
        inside = environment(python, version)
        if inside is None:
            print(f"== {name}: its environment cannot be made, so only the nodes' imports are tried", flush=True)
            passed = _runs([python, "-W", "error", "-c", BARE])
        else:
            print(f"== {name}: unit tests and searches", flush=True)
            cache = f"cache_dir={CACHE / 'tested'}-{version[0]}.{version[1]}"
            tests = [str(inside), *TESTS, "-o", cache, *sys.argv[1:]]
            passed = _runs([*tests, "-n", "2"]) or _runs([*tests, *AGAIN])
        if not passed:
            failed.append(name)
    if failed:
        print(f"Failed under: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
