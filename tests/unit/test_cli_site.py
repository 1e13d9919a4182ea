"""``hpcsearch site``: what it prints, where values come from, and what it says of wrong files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hpcsearch.cli import site as site_command
from hpcsearch.cli.main import run
from hpcsearch.sites.describe import origin_lines
from hpcsearch.sites.find import data_folder

HILL = """\
name = "hill"
scheduler = "slurm"
[detect]
variables = { HILL = "1" }
[queues.night]
partition = "night"
tiers = [{ max_nodes = 8, walltime = "12:00:00" }]
"""


@pytest.fixture(autouse=True)
def nothing_but_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No site files but the packaged ones and those in the folder that is given; no scheduler."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCSEARCH_SITE_PATH", str(tmp_path))
    (tmp_path / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def site(*arguments: str) -> int:
    return run(site_command.command, arguments, "hpcsearch site")


def test_list_names_every_site_and_this_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "hill.toml").write_text(HILL)
    (tmp_path / "polaris-alcf.toml").write_text('contact = "me"\n')
    assert site("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("*")] == [
        *sorted(file.stem for file in data_folder("site_configs").glob("*.toml") if file.stem != "local"),
        "hill",
    ]
    assert [line for line in lines if line.startswith("*")] == ["* local             local"]
    changed = next(line for line in lines if "polaris" in line)
    assert changed.endswith(f"(2 files, the last {tmp_path / 'polaris-alcf.toml'})")


def test_show_lists_queues_with_their_tiers_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert site("show", "frontier") == 0
    shown = capsys.readouterr().out
    assert "nodes:            64 cores (8 reserved), 8 GPUs, 512 GiB" in shown
    for tier in ("1-91          2:00:00", "92-183        6:00:00", "184-9472      12:00:00"):
        assert tier in shown
    assert "no chains" in shown
    assert "documented: https://docs.olcf.ornl.gov/" in shown


@pytest.mark.parametrize("file", sorted(data_folder("site_configs").glob("*.toml")), ids=lambda file: file.stem)
def test_every_packaged_site_can_be_shown_and_passes_the_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site("show", file.stem) == 0
    assert site("check", str(file)) == 0
    assert f"OK: {file}" in capsys.readouterr().out


def test_show_origin_names_the_file_of_each_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    upper = tmp_path / "polaris-alcf.toml"
    upper.write_text('directives = ["-l filesystems=home"]\n[queues.mine]\nmax_jobs = 2\n')
    assert site("show", "polaris", "--origin") == 0
    told = dict(line.split("  # ") for line in capsys.readouterr().out.splitlines())
    told = {key.rstrip(): origin for key, origin in told.items()}
    assert told['directives = ["-l filesystems=home"]'] == str(upper)
    assert told["queues.mine.max_jobs = 2"] == str(upper)
    assert told['queues.debug.min_walltime = "0:05:00"'].endswith("site_configs/polaris-alcf.toml")


def test_what_show_origin_prints_is_toml_again() -> None:
    for file in data_folder("site_configs").glob("*.toml"):
        assert tomllib.loads("\n".join(origin_lines([file]))) == tomllib.loads(file.read_text())


def test_an_unknown_site_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert site("show", "polariss") == 5
    assert "there is no site 'polariss'; did you mean 'polaris" in capsys.readouterr().err


def test_check_says_what_a_file_could_say_besides(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "hill.toml"
    file.write_text(HILL)
    assert site("check", str(file), "--script") == 0
    shown = capsys.readouterr().out
    assert "#SBATCH --partition=night" in shown
    assert f"OK: {file}: site hill, slurm, queues: 1, job scripts rendered: 2." in shown
    for advice in ("Its launcher is 'none'", "It names no sources", 'release = "slurm"'):
        assert advice in shown


def test_check_looks_at_an_incomplete_file_over_the_ones_below_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "elsewhere/polaris-alcf.toml"
    file.parent.mkdir()
    file.write_text('contact = "me"\n')
    assert site("check", str(file)) == 0
    assert f"over {data_folder('site_configs') / 'polaris-alcf.toml'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[queues.night]", "[queue.night]", "line 5: unknown key 'queue' in the top of the file; did you mean 'q"),
        ("[detect]", 'environment = ["echo \'open"]\n[detect]', "is no shell script"),
        ('name = "hill"', 'name = "hill"\ntemplate = "hill.sh.j2"', "'nope' is undefined"),
    ],
)
def test_check_refuses_what_would_fail_at_submit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, words: str
) -> None:
    (tmp_path / "hill.sh.j2").write_text('{% extends "slurm.sh.j2" %}{% block identity %}{{ nope }}{% endblock %}')
    file = tmp_path / "hill.toml"
    file.write_text(HILL.replace(old, new))
    assert site("check", str(file)) == 5
    assert words in capsys.readouterr().err


def test_detect_says_which_and_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site("detect") == 0
    shown = capsys.readouterr()
    assert shown.out == "local\n"
    assert "neither of the commands sbatch and qsub is here" in shown.err
    (tmp_path / "hill.toml").write_text(HILL)
    monkeypatch.setenv("HILL", "1")
    assert site("detect") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("hill\n", "The variable HILL is 1.\n")
