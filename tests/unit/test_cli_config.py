"""``hpcsearch config``, and the defaults of submit: they count as given, and it is said where they came from."""

from __future__ import annotations

import itertools
import json
import textwrap
from pathlib import Path

import pytest
from cli_bed import hpcsearch

from hpcsearch.cli.main import COMMANDS


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, with every default that a local search needs."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "config" / "hpcsearch" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        'account = "lab"\nqueue = "local"\nsite = "local"\n\n'
        '[submit]\nevals-per-node = 3\nbind = false\ntime = 20\nresumable = true\nsearch-arg = ["kappa=1.5"]\n'
    )
    return path


def test_path_names_the_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hpcsearch("config", "path") == 0
    assert capsys.readouterr().out == f"{config}\n"


def test_show_says_where_each_value_was_set(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCSEARCH_QUEUE", "debug")
    monkeypatch.setenv("SBATCH_ACCOUNT", "other")
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    assert hpcsearch("config", "show", "--format", "json") == 0
    shown = {row["name"]: (row["value"], row["from"]) for row in json.loads(capsys.readouterr().out)}
    file = "~/config/hpcsearch/config.toml"
    assert shown["account"] == ("lab", file)
    assert shown["queue"] == ("debug", "HPCSEARCH_QUEUE")
    assert shown["root"] == (str(Path("workflows").absolute()), "built in")
    assert shown["submit.evals-per-node"] == ("3", file)
    assert shown["submit.resumable"] == ("true", file)
    assert hpcsearch("config", "show") == 0
    assert "HPCSEARCH_QUEUE" in capsys.readouterr().out


def test_show_where_nothing_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hpcsearch("config", "show") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["account", "not", "set"]


def submit(search_files: Path, *more: str) -> int:
    files = ("--problem", "problem.py", "--run", "model_run.py")
    return hpcsearch("submit", "hps", "poly", *files, "-n", "1", "--dry-run", *more)


def test_defaults_count_as_given_and_are_named(
    config: Path, search_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(search_files) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    for line in ("account lab", "queue local", "time 20", "evals-per-node 3", "resumable true", "search-arg kappa=1.5"):
        assert f"{line} (from ~/config/hpcsearch/config.toml)" in printed.splitlines()
    assert "HPCSEARCH_DEADLINE + 1200" in printed  # 20 are minutes there, as they are when typed


def test_what_is_typed_goes_before_the_file_and_needs_no_note(
    config: Path, search_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(search_files, "-A", "mine", "-t", "10") == 0
    printed = capsys.readouterr().out
    assert not [line for line in printed.splitlines() if line.startswith(("account", "time"))]
    assert "HPCSEARCH_DEADLINE + 600" in printed


def test_a_variable_goes_before_the_file(
    config: Path, search_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCSEARCH_ACCOUNT", "ours")
    monkeypatch.setenv("HPCSEARCH_ROOT", "elsewhere")
    monkeypatch.setenv("HPCSEARCH_DEADLINE", "7")
    assert submit(search_files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "account ours (from HPCSEARCH_ACCOUNT)" in lines
    assert "root elsewhere (from HPCSEARCH_ROOT)" in lines


def test_the_site_that_is_set_is_this_machine(
    config: Path, search_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCSEARCH_SITE", "polaris-alcf")
    assert hpcsearch("site", "detect") == 0
    assert capsys.readouterr() == ("polaris-alcf\n", "It is set so in HPCSEARCH_SITE.\n")
    assert submit(search_files, "-q", "nonsense") == 2
    assert "polaris" in capsys.readouterr().err
    assert submit(search_files, "-q", "local") == 0
    assert "site polaris-alcf" not in capsys.readouterr().out


def test_without_a_file_a_required_option_is_still_missing(
    search_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(search_files, "-t", "5") == 2
    assert "Missing option '--queue'" in capsys.readouterr().err
    monkeypatch.setenv("SBATCH_PARTITION", "local")
    assert submit(search_files, "-t", "5", "--site", "local") == 0
    assert "queue local (from SBATCH_PARTITION)" in capsys.readouterr().out


DOCS = Path(__file__).parents[2] / "docs" / "commands.rst"


def test_the_documented_file_holds(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, after = DOCS.read_text(encoding="utf-8").partition(".. code-block:: toml\n\n")
    example = "\n".join(itertools.takewhile(lambda line: line.startswith("   ") or not line, after.splitlines()))
    config.write_text(textwrap.dedent(example))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCH", "/scratch")
        assert hpcsearch("config", "show", "--format", "json") == 0
    shown = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert (shown["root"], shown["submit.max-evals"]) == ("/scratch/workflows", "200")


def test_every_command_is_documented() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert [
        name for name in COMMANDS if f"``hpcsearch {name} " not in page and f"``hpcsearch {name}``" not in page
    ] == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("evals-per-nod = 2", "line 2: unknown key 'evals-per-nod' in [submit]; did you mean 'evals-per-node'?"),
        ("queue = 'x'", "line 2: queue stands above the table [submit], not in it"),
        ("nodes = 'many'", "line 2: nodes: 'many' is not a valid integer."),
        ("time = 'long'", "line 2: time: 'long' is no walltime"),
        ("search-arg = ['kappa']", "line 2: search-arg: 'kappa' is not of the form name=value."),
        ("nodes = [1, 2]", "line 2: nodes must be one value, not [1, 2]"),
    ],
)
def test_a_wrong_option_in_the_file_is_refused_with_its_line(
    config: Path, search_files: Path, capsys: pytest.CaptureFixture[str], line: str, expected: str
) -> None:
    config.write_text(f"[submit]\n{line}\n")
    assert submit(search_files) == 2
    printed = capsys.readouterr()
    assert expected in printed.err
    assert str(config) in printed.err
    assert printed.out == ""
    assert hpcsearch("config", "show") == 2
    assert hpcsearch("submit", "hps", "--help") == 0


def test_resume_keeps_what_the_workflow_has(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults are for what is new: they would silently move a workflow to another account."""
    assert hpcsearch("resume", "poly", "--queue", "x") == 3
    assert "no workflow 'poly'" in capsys.readouterr().err
    config.write_text("[submit]\nnonsense = 1\n")
    assert hpcsearch("resume", "poly") == 3
