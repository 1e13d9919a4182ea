"""The doctor: what it finds on machines that lack something, and what it advises."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from pbs_recorded import RECORDED

from hpcsearch import horovod
from hpcsearch.cli import doctor as doctor_command
from hpcsearch.cli.main import run
from hpcsearch.doctor import Finding, Verdict, checks, examine, filesystem
from hpcsearch.errors import SchedulerError


@pytest.fixture(autouse=True)
def without_horovod(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask it takes seconds each time; test_horovod.py does."""
    monkeypatch.setattr(horovod, "is_installed", lambda: False)


def findings(site: str | None, root: Path, **environment: str) -> dict[str, Finding]:
    return {each.title: each for each in examine(site, root, {**os.environ, **environment})}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, with bash, for commands that stand for a scheduler's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HPCSEARCH_SITE_PATH", raising=False)
    return folder


def command(folder: Path, name: str, script: str = "exit 0") -> None:
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def slurm_commands(folder: Path, ping: str = "echo 'Slurmctld(primary) at head is UP'", sacct: str = "exit 0") -> None:
    for name in ("squeue", "scancel", "srun"):
        command(folder, name)
    command(folder, "sbatch", "echo slurm 22.05.8")
    command(folder, "scontrol", ping)
    command(folder, "sacct", sacct)


def test_a_machine_without_a_scheduler_is_well(commands: Path, tmp_path: Path) -> None:
    found = findings(None, tmp_path)
    assert list(found) == [
        "Python",
        "site",
        "scheduler",
        "environment",
        "job script",
        "database",
        "launcher",
        "GPUs",
        "Horovod",
    ]
    assert {each.verdict for each in found.values()} <= {Verdict.OK, Verdict.LOOK}
    assert found["site"].text.startswith("local (local). No site file describes")
    assert [each.name for each in tmp_path.iterdir()] == ["bin"], "nothing is left behind"


def test_slurm_with_and_without_accounting(commands: Path, tmp_path: Path) -> None:
    slurm_commands(commands)
    assert findings(None, tmp_path)["scheduler"].text == "slurm 22.05.8 answers, with accounting."
    slurm_commands(commands, sacct="echo Slurm accounting storage is disabled; exit 1")
    found = findings(None, tmp_path)["scheduler"]
    assert (found.verdict, found.text) == (Verdict.LOOK, "slurm 22.05.8 answers, without accounting.")


def test_a_slurm_that_does_not_answer(commands: Path, tmp_path: Path) -> None:
    slurm_commands(commands, ping="echo 'Slurmctld(primary) at head is DOWN'")
    found = findings(None, tmp_path)["scheduler"]
    assert found.verdict is Verdict.FAILED
    assert "is DOWN" in found.text


def test_missing_commands_and_launcher_are_named(commands: Path, tmp_path: Path) -> None:
    found = findings("frontier", tmp_path)
    assert found["scheduler"].verdict is Verdict.FAILED
    assert "sbatch, squeue, scancel, scontrol" in found["scheduler"].text
    assert (found["launcher"].verdict, found["launcher"].text) == (Verdict.LOOK, "srun: srun is not here.")
    assert "the site's nodes have 8, dealt out by ROCR_VISIBLE_DEVICES" in found["GPUs"].text


def test_variables_that_change_scripts_are_named(commands: Path, tmp_path: Path) -> None:
    slurm_commands(commands)
    found = findings("slurm", tmp_path, SBATCH_PARTITION="night")["environment"]
    assert found.verdict is Verdict.LOOK
    assert "SBATCH_PARTITION" in found.text


def test_a_wrong_site_file_is_told_with_its_line(commands: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config/hpcsearch/sites"
    folder.mkdir(parents=True)
    (folder / "hill.toml").write_text('name = "hill"\nscheduler = "slurm"\n[nodes]\n')
    found = findings("hill", tmp_path)
    assert found["site"].verdict is Verdict.FAILED
    assert "hill.toml, line 3: unknown key 'nodes'" in found["site"].text
    assert found["database"].verdict is Verdict.OK


def test_a_wrong_environment_line_is_found_in_the_script(commands: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config/hpcsearch/sites"
    folder.mkdir(parents=True)
    (folder / "local.toml").write_text('environment = ["echo \'open"]\n')
    found = findings("local", tmp_path)["job script"]
    assert found.verdict is Verdict.FAILED
    assert "is no shell script" in found.text


def test_a_scheduler_that_hangs_is_a_finding(commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise SchedulerError("sbatch gave no answer within 60 s", "Try again later.")

    slurm_commands(commands)
    monkeypatch.setattr(checks, "run", hang)
    found = findings(None, tmp_path)["scheduler"]
    assert (found.verdict, found.advice) == (Verdict.FAILED, "Try again later.")


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "_PACKAGES", ("numpy", "no_such_package"))
    found = findings("local", tmp_path)["Python"]
    assert found.verdict is Verdict.FAILED
    assert "lacks no_such_package" in found.text


def test_a_python_that_other_nodes_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", "/tmp/venv")
    assert findings("local", tmp_path)["Python"].verdict is Verdict.LOOK


def test_a_folder_that_is_not_there_yet_is_probed_above(tmp_path: Path) -> None:
    found = filesystem.check_folder(tmp_path / "a/b/workflows")
    assert found.verdict is not Verdict.FAILED
    assert f"Locks and renames work in {tmp_path}" in found.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written() -> None:
    found = filesystem.check_folder(Path("/proc/1"))
    assert found.verdict is Verdict.FAILED
    assert "--root" in found.advice


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival gets the lock all the same."""
    monkeypatch.setattr(filesystem, "_RIVAL", "raise SystemExit(0)")
    found = filesystem.check_folder(tmp_path)
    assert found.verdict is Verdict.FAILED
    assert "does not keep locks" in found.text


def test_sqlite_that_fails_on_a_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(filesystem, "_commit_s", fail)
    found = filesystem.check_folder(tmp_path)
    assert (found.verdict, "disk I/O error" in found.text) == (Verdict.FAILED, True)


@pytest.mark.parametrize(("commit_s", "verdict"), [(0.001, Verdict.OK), (0.5, Verdict.LOOK)])
def test_a_slow_disk_is_worth_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit_s: float, verdict: Verdict
) -> None:
    monkeypatch.setattr(filesystem, "_LITTLE_SPACE_BYTES", 0)
    monkeypatch.setattr(filesystem, "_commit_s", lambda connection: commit_s)
    assert filesystem.check_folder(tmp_path).verdict is verdict


def test_a_file_system_whose_renames_do_not_protect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_renames", lambda scratch: "a rename replaces a folder that is in use")
    assert filesystem.check_folder(tmp_path).verdict is Verdict.FAILED


def test_gpus_are_counted(commands: Path, tmp_path: Path) -> None:
    command(commands, "nvidia-smi", "echo 'GPU 0: one'; echo 'GPU 1: two'")
    assert checks.gpu_devices() == ["GPU 0: one", "GPU 1: two"]
    assert findings("local", tmp_path)["GPUs"].text.startswith("2 GPUs on this machine; evaluations get theirs by CUDA")


def test_the_command_prints_findings_with_advice_and_ends_with_1_when_no_search_can_run(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(doctor_command.command, ["--root", str(tmp_path), "--site", "local"], "doctor") == 0
    assert "database:     OK" in capsys.readouterr().out
    assert run(doctor_command.command, ["--root", str(tmp_path), "--site", "polaris"], "doctor") == 1
    shown = capsys.readouterr().out
    assert "scheduler:    FAILED  The commands qsub, qstat, qdel are not here." in shown
    assert "Load the scheduler's module" in shown


def pbs_commands(folder: Path, server: str) -> None:
    for name in ("qsub", "qdel"):
        command(folder, name)
    command(folder, "qstat", f'[ "$*" = "-B -f -F json" ] && printf "%s" \'{server}\'')


@pytest.mark.parametrize(
    ("server", "verdict", "words"),
    [
        (RECORDED["qstat_B_json"].stdout, Verdict.OK, "PBS 23.06.06 answers, with job history."),
        (
            RECORDED["qstat_B_json"].stdout.replace('"job_history_enable":\t"True"', '"x":\t1'),
            Verdict.LOOK,
            "PBS 23.06.06 answers, without job history.",
        ),
        ('{"Server": {"head": {"server_state": "Idle"}}}', Verdict.LOOK, "PBS answers, but starts no jobs at present."),
        ('{"timestamp": 1}', Verdict.FAILED, "PBS's server does not answer"),
        ("qstat: cannot connect to server", Verdict.FAILED, "cannot connect to server"),
    ],
)
def test_pbs_says_how_it_is(commands: Path, tmp_path: Path, server: str, verdict: Verdict, words: str) -> None:
    pbs_commands(commands, server)
    found = findings("pbs", tmp_path)["scheduler"]
    assert found.verdict is verdict
    assert words in found.text


def test_the_launcher_that_is_there_is_named(commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    pbs_commands(commands, "")
    assert findings("pbs", tmp_path)["launcher"].text == "auto: mpiexec is not here."
    command(commands, "mpiexec", "echo 'mpiexec (OpenRTE) 4.1.4'")
    found = findings("polaris", tmp_path)["launcher"]
    assert (found.verdict, found.text) == (Verdict.LOOK, f"pals is not here: {commands}/mpiexec is openmpi.")
    assert 'kind = "openmpi"' in found.advice
    found = findings("pbs", tmp_path)["launcher"]
    assert found.verdict is Verdict.OK
    assert found.text == f"openmpi: {commands}/mpiexec is here, and reaches other nodes by ssh."
    command(commands, "pbs_tmrsh")
    assert "by pbs_tmrsh" in findings("pbs", tmp_path)["launcher"].text
