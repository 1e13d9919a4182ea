"""Shell completion: the scripts, and what shells get when they ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcsearch.cli.main import COMMANDS, hpcsearch_command, run
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]


def ask(line: str, tmp_path: Path, *, main: str = "main", **more: str) -> list[str]:
    """What bash is told of ``line``, whose last word is being typed: ``plain,status``."""
    words = line.split(" ")
    program = words[0]
    environment = {
        **os.environ,
        f"_{program.upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "HPCSEARCH_ROOT": str(tmp_path / "workflows"),
        **more,
    }
    code = f"import sys; sys.argv[0] = {program!r}; from hpcsearch.cli.main import {main}; {main}()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def workflows(make_workflow: MakeWorkflow) -> None:
    for name in ("poly", "poly2", "zebra"):
        make_workflow(name)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hpcsearch st", ["plain,start-project", "plain,status", "plain,stop"]),
        ("hpcsearch status --form", ["plain,--format"]),
        ("hpcsearch status --format c", ["plain,csv"]),
        ("hpcsearch status p", ["plain,poly", "plain,poly2"]),
        ("hpcsearch show poly", ["plain,poly", "plain,poly2"]),
        ("hpcsearch logs z", ["plain,zebra"]),
        ("hpcsearch status workflows/p", ["dir,workflows/p"]),
        ("hpcsearch results --root /nowhere p", []),
        ("hpcsearch ls --root wor", ["dir,wor"]),
        ("hpcsearch submit h", ["plain,hps"]),
        ("hpcsearch submit hps x --site polaris", ["plain,polaris-alcf"]),
        ("hpcsearch submit hps x --site polaris-alcf -q deb", ["plain,debug", "plain,debug-scaling"]),
        ("hpcsearch resume --site polaris-alcf -q deb", ["plain,debug", "plain,debug-scaling"]),
        ("hpcsearch submit hps x -p pro", ["file,pro"]),
        ("hpcsearch hps ambs --run mo", ["file,mo"]),
        ("hpcsearch hps ambs --run model_run.py:", []),
        ("hpcsearch submit hps x --site nonsense -q deb", []),
        ("hpcsearch config ", ["plain,show", "plain,path"]),
        ("hpcsearch completion f", ["plain,fish"]),
        ("hpcsearch nonsense comp", ["plain,completion"]),  # no error, at least
    ],
)
def test_what_a_line_may_become(workflows: None, tmp_path: Path, line: str, expected: list[str]) -> None:
    assert sorted(ask(line, tmp_path)) == sorted(expected)


def test_the_second_command_is_completed_too(workflows: None, tmp_path: Path) -> None:
    assert ask("submit h", tmp_path, main="main_submit") == ["plain,hps"]


def test_all_commands(tmp_path: Path) -> None:
    assert [line.partition(",")[2] for line in ask("hpcsearch ", tmp_path)] == list(COMMANDS)


def test_queues_are_those_of_the_site_that_is_set(tmp_path: Path) -> None:
    line = "hpcsearch submit hps x -q prod"
    assert "plain,prod" in ask(line, tmp_path, HPCSEARCH_SITE="polaris-alcf")


def test_a_wrong_config_is_no_reason_to_speak(workflows: None, tmp_path: Path) -> None:
    config = tmp_path / "config" / "hpcsearch" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("nonsense = 1\n")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HPCSEARCH_ROOT": ""}
    assert ask("hpcsearch status p", tmp_path, **home) == []
    assert ask("hpcsearch submit hps x -q p", tmp_path, **home) == []


def test_asking_imports_nothing_that_takes_time(workflows: None, tmp_path: Path) -> None:
    """One press of the tab key for a name of a workflow: no database, no tables, no search space."""
    code = (
        "import sys\n"
        "from hpcsearch.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('LOADED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    environment = {**os.environ, "_HPCSEARCH_COMPLETE": "bash_complete", "COMP_WORDS": "hpcsearch\nstatus\np"}
    environment |= {"COMP_CWORD": "2", "HPCSEARCH_ROOT": str(tmp_path / "workflows")}
    command = [sys.executable, "-c", code.replace("import sys\n", "import sys; sys.argv[0] = 'hpcsearch'\n", 1)]
    answer, _, loaded = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True
    ).stdout.partition("LOADED")
    assert "plain,poly" in answer
    assert not {"sqlalchemy", "rich", "jinja2", "ConfigSpace", "numpy", "submitit", "asyncio"} & set(loaded.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_ones_of_their_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hpcsearch_command, ["completion", shell], "hpcsearch") == 0
    script = capsys.readouterr().out
    for program in ("hpcsearch", "submit"):
        assert f"_{program.upper()}_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_itself_completes(workflows: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hpcsearch_command, ["completion", "bash"], "hpcsearch") == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    program = tmp_path / "hpcsearch"
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -m hpcsearch.cli "$@"\n')
    program.chmod(0o755)
    typed = (
        f"source {script}; COMP_WORDS=(hpcsearch status p); COMP_CWORD=2; "
        f"{'_hpcsearch_completion'} {program}; echo ${{COMPREPLY[@]}}"
    )
    environment = {**os.environ, "HPCSEARCH_ROOT": str(tmp_path / "workflows")}
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["poly", "poly2"]


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hpcsearch_command, ["completion", "csh"], "hpcsearch") == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
