"""Projects and problems: what is made, what is refused, and that the sample does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from cli_bed import hpcsearch
from hypothesis import example, given
from hypothesis import strategies as st

from hpcsearch.errors import UsageError
from hpcsearch.project import Project, find_problem, find_project, new_problem, start_project
from hpcsearch.project.names import check_package_name

EXAMPLE = Path(__file__).parents[2] / "examples" / "polynome2"

FILES = ["__init__.py", "best_config.py", "default_config.py", "load_data.py", "model_run.py", "problem.py"]

SHAPES = """\
train_X shape: (8000, 10)
train_y shape: (8000, 1)
valid_X shape: (2000, 10)
valid_y shape: (2000, 1)
"""


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with the problem polynome2, whose root is the current folder."""
    made = start_project(Path("my_project"))
    monkeypatch.chdir(made.root)
    new_problem("polynome2")
    return made


def test_a_new_project_is_a_package_that_hpcsearch_knows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("start-project", "my_project") == 0
    assert tree(here) == ["my_project/my_project/__init__.py", "my_project/pyproject.toml"]
    table = tomllib.loads((here / "my_project" / "pyproject.toml").read_text())
    assert table["project"]["name"] == table["tool"]["hpcsearch"]["package"] == "my_project"
    said = capsys.readouterr().out
    assert "Created my_project/pyproject.toml\nCreated my_project/my_project/__init__.py\n" in said
    assert "cd my_project\n" in said


@pytest.mark.parametrize("where", [".", "my_project", "my_project/polynome1"])
def test_a_new_problem_lies_in_the_package_wherever_it_is_made(
    where: str, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new_problem("polynome1")
    monkeypatch.chdir(where)
    assert hpcsearch("new-problem", "hps", "other") == 0
    assert tree(project.folder / "other") == FILES
    said = capsys.readouterr().out
    assert said.startswith("package:  my_project\n")
    assert [line for line in said.splitlines() if line.startswith("Created")] == [
        f"Created my_project/other/{name}" for name in FILES
    ]
    assert (f"cd {project.root}" in said) == (where != ".")
    assert project.problems == ["other", "polynome1", "polynome2"]


def test_what_is_there_is_never_overwritten(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    file = project.folder / "polynome2" / "problem.py"
    file.write_text("mine")
    (project.folder / "notes").write_text("mine")
    before = tree(project.root)
    assert hpcsearch("new-problem", "hps", "polynome2") == 2
    assert hpcsearch("new-problem", "hps", "notes") == 2
    assert hpcsearch("start-project", str(project.root)) == 2
    assert capsys.readouterr().err.count("exists already, and nothing is overwritten.") == 3
    assert (tree(project.root), file.read_text()) == (before, "mine")


@pytest.mark.parametrize(
    ("name", "why", "hint"),
    [
        ("my-project", "becomes the name of a Python package", "such as my_project"),
        ("a" * 300, "becomes the name of a Python package", "up to 100"),
        ("1st", "becomes the name of a Python package", "beginning with a letter"),
        ("_hidden", "becomes the name of a Python package", "such as hidden"),
        ("with", "a word of the Python language", "such as my_with"),
        ("random", "Python's standard library", "such as my_random"),
        ("sklearn", "that is installed as", "such as my_sklearn"),
    ],
)
def test_names_that_no_package_should_have(
    name: str, why: str, hint: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(project.root)
    for command in (("start-project", name), ("new-problem", "hps", name)):
        assert hpcsearch(*command) == 2
        said = capsys.readouterr()
        assert re.fullmatch(r"Error: .+\n.+\n", said.err)
        assert repr(name) in said.err and why in said.err and hint in said.err
        assert said.out == ""
    assert tree(project.root) == before
    assert not list(project.root.glob("**/.*"))


@given(st.one_of(st.text(max_size=8), st.from_regex(r"\w{1,5}", fullmatch=True)))
@example("a" * 101)
@example("x\n")
def test_a_name_that_is_taken_can_be_imported(name: str) -> None:
    try:
        check_package_name(name, "problem")
    except UsageError as error:
        assert repr(name) in error.message and error.hint
    else:
        compile(f"import {name}", "", "exec")
        assert name.isascii() and name not in sys.stdlib_module_names


def test_a_folder_that_cannot_be_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("start-project", "nowhere/my_project") == 2
    assert "cannot be made: No such file or directory." in capsys.readouterr().err
    assert not list(here.iterdir())


def test_a_problem_needs_a_project(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert hpcsearch("new-problem", "hps", "polynome2") == 2
    said = capsys.readouterr().err
    assert f"no pyproject.toml with [tool.hpcsearch] in {here} or above" in said
    assert "hpcsearch start-project my_project" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[tool.hpcsearch]\npackage = ", "cannot be read"),
        ("[tool.hpcsearch]\npackage = 'other'", "package is 'other', and there is no such package"),
        ("[tool.hpcsearch]\n", "package is None"),
        ("# [tool.hpcsearch]\n", "cannot be read"),
    ],
)
def test_a_pyproject_that_is_wrong(text: str, why: str, project: Project) -> None:
    (project.root / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(why)):
        find_project(project.folder)


def test_the_example_is_what_a_new_problem_is(project: Project) -> None:
    assert sorted(file.name for file in EXAMPLE.glob("*.py")) == FILES
    for name in FILES:
        made = (project.folder / "polynome2" / name).read_text()
        assert made.replace("from my_project.polynome2.", "from ") == (EXAMPLE / name).read_text(), name


def module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"my_project.polynome2.{name}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_sample_runs_from_the_data_to_the_best_configuration(project: Project) -> None:
    assert module("load_data").stdout == SHAPES
    assert "units, Type: UniformInteger, Range: [1, 100], Default: 50" in module("problem").stdout
    baseline = module("default_config").stdout
    assert baseline.startswith(SHAPES)
    assert "early stopping" in baseline
    assert float(baseline.rpartition("objective: ")[2]) < 0.1

    header = "activation,lr,units,id,objective,elapsed_sec\n"
    rows = "relu,0.5,3,1,,1.0\ntanh,0.0305,62,2,0.99,2.0\nidentity,0.01,10,3,-0.01,3.0\n"
    (project.root / "results.csv").write_text(header + rows)
    best = module("best_config").stdout
    assert best.startswith("{'units': 62, 'activation': 'tanh', 'lr': 0.0305}\n")
    assert 0.97 < float(best.rpartition("objective:  ")[2]) < 1


def test_the_best_configuration_of_nothing(project: Project) -> None:
    done = module("best_config")
    assert done.returncode == 1
    assert done.stderr == "There is no results.csv: run a search first, or give the path of its results.csv.\n"
    (project.root / "r.csv").write_text("lr,units,activation,objective\n0.1,3,relu,\n")
    assert module("best_config", "r.csv").stderr == "No evaluation in r.csv has finished.\n"


@pytest.mark.parametrize("where", [".", "my_project"])
@pytest.mark.parametrize("name", ["polynome2", "polynome2-long", "polynome2_2.a"])
def test_a_workflow_named_like_a_problem_needs_no_files(
    where: str, name: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(where)
    folder = project.folder / "polynome2"
    found = find_problem(name, None, None)
    assert (found.problem, found.run) == (str(folder / "problem.py"), str(folder / "model_run.py"))
    assert str(folder) in found.sentence
    mine = find_problem(name, "mine.py", None)
    assert (mine.problem, mine.run) == ("mine.py", found.run)
    assert mine.sentence == f"Taking model_run.py in {folder}."


def test_the_current_folder_goes_before_the_project(project: Project) -> None:
    nearer = project.root / "polynome2"
    nearer.mkdir()
    (nearer / "problem.py").touch()
    assert find_problem("polynome2", None, None).problem == str(project.folder / "polynome2" / "problem.py")
    (nearer / "model_run.py").touch()
    assert find_problem("polynome2", None, None).problem == str(nearer / "problem.py")


def test_what_is_given_is_not_looked_for(here: Path) -> None:
    found = find_problem("polynome2", "a.py", "pkg.mod:run")
    assert (found.problem, found.run, found.sentence) == ("a.py", "pkg.mod:run", "")


def test_what_is_missing_is_said_with_where_it_was_looked_for(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("submit", "hps", "polynom", "-n", "1", "-t", "5", "-q", "local")
    assert hpcsearch(*line) == 2
    said = capsys.readouterr().err
    assert "Neither -p nor -r is given, and there is no folder named like 'polynom'" in said
    assert f"in {project.root} or {project.folder}." in said
    assert "(polynome2)" in said
    assert hpcsearch(*line, "-p", "problem.py") == 2
    assert "-r is not given" in capsys.readouterr().err
    assert hpcsearch("hps", "ambs") == 2
    assert "a problem's folder (polynome2)" in capsys.readouterr().err
    assert not (project.root / "workflows").exists()


def test_install_makes_the_package_importable_from_anywhere(here: Path) -> None:
    """In an environment of its own, which sees our dependencies and this hpcsearch."""
    venv.create(here / "venv", with_pip=False, symlinks=True)
    python = here / "venv" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(here / "venv")}))
    seen = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(EXAMPLE.parents[1])]
    (site / "dependencies.pth").write_text("\n".join(seen) + "\n")
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def start(name: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-P", "-m", "hpcsearch.cli", "start-project", name, "--install"]
        return subprocess.run(command, env=offline, capture_output=True, text=True, timeout=100, check=False)

    done = start("my_project")
    assert done.returncode == 0, done.stderr
    assert "Installed my_project" in done.stdout
    where = subprocess.run(
        [python, "-P", "-c", "import my_project; print(my_project.__file__)"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout == f"{here / 'my_project' / 'my_project' / '__init__.py'}\n"

    offline["PIP_NO_BUILD_ISOLATION"] = "1"  # pip's word for: fetch what builds it, which there is no index for
    failed = start("lonely")
    assert failed.returncode == 1
    assert (
        "Error: The project is made, but pip could not install it (exit code 1): it says why above.\n" in failed.stderr
    )
    assert (here / "lonely" / "pyproject.toml").exists()
