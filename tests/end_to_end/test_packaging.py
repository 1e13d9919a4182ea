"""What is built is whole: the wheel works away from the checkout, and the source archive has all that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from hpcsearch.cli.main import COMMANDS
from hpcsearch.search import known_strategies

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_wheel_holds_package_templates_and_sites(built: Path) -> None:
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        names = set(wheel.namelist())
    for kind, folder in (("*.py", "hpcsearch"), ("*.j2", "jobscripts"), ("*.toml", "site_configs")):
        files = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(kind)}
        assert files
        assert {name if folder == "hpcsearch" else f"hpcsearch/{name}" for name in files} <= names
    assert "hpcsearch/py.typed" in names
    assert {name.partition("/")[0].removesuffix(".dist-info").partition("-")[0] for name in names} == {"hpcsearch"}


def test_the_source_archive_holds_what_a_clone_holds(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("pyproject.toml", "README.rst", "LICENSE", "CHANGELOG.rst", "Makefile", "tests/conftest.py"):
        assert needed in names
    assert {"jobscripts/base.sh.j2", "site_configs/local.toml", "examples/polynome2/problem.py"} <= names


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel in it, which sees our dependencies and not the checkout."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, *install, str(only(built, "*.whl"))], check=True, capture_output=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    # Folders in a .pth file are searched; the .pth files in them, such as that of an editable install, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n" + sysconfig.get_path("platlib") + "\n")
    return folder / "bin"


def ran(installed: Path, folder: Path, program: str, *arguments: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "HPCSEARCH_ROOT"}}
    done = subprocess.run(
        [installed / program, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    where = ran(installed, tmp_path, "python", "-c", "import hpcsearch; print(hpcsearch.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert ran(installed, tmp_path, "hpcsearch", "--version") == f"hpcsearch {_version()}\n"


def _version() -> str:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert isinstance(version, str)
    return version


def test_both_commands_are_there(installed: Path, tmp_path: Path) -> None:
    text = ran(installed, tmp_path, "hpcsearch", "--help")
    assert all(name in text for name in COMMANDS)
    assert "Usage: hpcsearch submit hps" in ran(installed, tmp_path, "submit", "hps", "--help")


def test_a_dry_run_needs_nothing_but_the_users_two_files(installed: Path, search_files: Path) -> None:
    line = "hps poly -p problem.py -r model_run.py -n 1 -t 30 -q local -A none -j serial --dry-run"
    output = ran(installed, search_files, "submit", *line.split())
    assert "Validating run...OK" in output
    assert f"python={installed / 'python'}" in output
    assert sorted(entry.name for entry in search_files.iterdir()) == ["model_run.py", "problem.py"]


def test_the_searches_are_declared_as_entry_points(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import entry_points\n"
        "print(*(one.name + '=' + one.value for one in entry_points(group='hpcsearch.search')))"
    )
    declared = dict(item.split("=") for item in ran(installed, tmp_path, "python", "-c", code).split())
    assert declared == {name: known_strategies()[name] for name in declared}
    assert {"ambs", "grid", "random"} <= declared.keys()


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.partition("dependencies = [")[2].partition("]\n")[0]
    lines = [line.strip() for line in block.strip().splitlines()]
    assert len(lines) == len(tomllib.loads(text)["project"]["dependencies"])
    assert all("  # " in line for line in lines)


@pytest.mark.parametrize(("reason", "in_ci"), [("no Slurm here", "failed"), ("needs a GPU", "skipped")])
def test_in_ci_only_a_missing_gpu_is_a_reason_to_skip(reason: str, in_ci: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_it(): pytest.skip({reason!r})\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    for variable, expected in (("true", in_ci), ("", "skipped")):
        variables = {**os.environ, "CI": variable}
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert f"1 {expected}" in done.stdout
