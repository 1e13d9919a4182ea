"""Defaults: which one holds, where it came from, and what config.toml may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch import settings
from hpcsearch.errors import UsageError
from hpcsearch.workflow.layout import workflows_root


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def write(home: dict[str, str], text: str) -> Path:
    path = settings.config_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_file_is_where_the_environment_says(home: dict[str, str]) -> None:
    assert settings.config_path(home) == Path(home["HOME"], ".config/hpcsearch/config.toml")
    assert settings.config_path(home | {"XDG_CONFIG_HOME": "/etc/x"}) == Path("/etc/x/hpcsearch/config.toml")


def test_without_any_there_is_no_default(home: dict[str, str]) -> None:
    assert {settings.default(name, home) for name in settings.VARIABLES} == {None}


LEVELS = ("HPCSEARCH_ACCOUNT", "file", "SBATCH_ACCOUNT")


@given(st.sets(st.sampled_from(LEVELS)))
def test_the_strongest_level_that_is_set_holds(tmp_path_factory: pytest.TempPathFactory, levels: set[str]) -> None:
    home = {"HOME": str(tmp_path_factory.mktemp("home"))}
    home |= {level: level for level in levels if level != "file"}
    if "file" in levels:
        write(home, 'account = "file"')
    found = settings.default("account", home)
    strongest = next((level for level in LEVELS if level in levels), None)
    assert (found.value if found else None) == strongest
    if found:
        assert found.origin == ("~/.config/hpcsearch/config.toml" if strongest == "file" else strongest)


def test_the_partition_that_sbatch_would_take_is_a_queue(home: dict[str, str]) -> None:
    found = settings.default("queue", home | {"SBATCH_PARTITION": "gpu"})
    assert found == settings.Setting("gpu", "SBATCH_PARTITION")


def test_an_empty_value_is_none(home: dict[str, str]) -> None:
    write(home, 'account = ""\nroot = ""')
    assert settings.default("account", home | {"HPCSEARCH_ACCOUNT": ""}) is None
    assert settings.default("root", home) is None


def test_variables_of_allocations_are_not_looked_at(home: dict[str, str]) -> None:
    """A driver and its slots find such variables; they are no settings, known or unknown."""
    names = ("DEADLINE", "SCHEDULER", "SCHEDULER_ID", "SLOT", "SLURM_ACCOUNT", "SUBMIT", "NODES")
    inside = home | {f"HPCSEARCH_{name}": "7" for name in names}
    assert {settings.default(name, inside) for name in settings.VARIABLES} == {None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('queue = "debug"\nacount = "lab"\n', "line 2: unknown key 'acount'; did you mean 'account'?"),
        ("account = 7\n", "line 1: account must be a text in quotes, not 7"),
        ("\n\nsubmit = 3\n", "line 3: submit must be a table [submit], not 3"),
        ("[sumbit]\nnodes = 3\n", "line 1: unknown key 'sumbit'; did you mean '[submit]'?"),
        ('root = "runs"\n', "line 1: root 'runs' is no absolute path"),
        ('root = "$NOT_SET_HERE/runs"\n', "line 1: root '$NOT_SET_HERE/runs' is no absolute path"),
        ("account = lab\n", "is no TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(home: dict[str, str], text: str, expected: str) -> None:
    path = write(home, text)
    with pytest.raises(UsageError) as caught:
        settings.default("account", home)
    assert str(path) in caught.value.message
    assert expected in caught.value.message


def test_a_file_that_is_no_text(home: dict[str, str]) -> None:
    write(home, "").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        settings.read_config(home)


def test_the_root_may_name_variables_and_home(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", home["HOME"])
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    write(home, 'root = "$SCRATCH/runs"')
    assert workflows_root() == Path("/scratch/me/runs")
    write(home, 'root = "~/runs"')
    assert workflows_root() == tmp_path / "runs"
    monkeypatch.setenv("HPCSEARCH_ROOT", "here")
    monkeypatch.chdir(tmp_path)
    assert workflows_root() == tmp_path / "here"
    assert workflows_root("there") == tmp_path / "there"
