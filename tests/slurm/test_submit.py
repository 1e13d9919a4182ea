"""``submit``, ``resume``, ``status`` and ``cancel`` on a real Slurm, from the command line to what Slurm has."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from allocation_bed import check_chain

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.workflow.layout import Layout

#: The machine of these tests, described as an administrator would; nothing is asked twice within a poll interval.
SITE = """\
name = "lab"
scheduler = "slurm"
release = "slurm"
poll_interval_s = 1
[launcher]
kind = "srun"
[queues.debug]
partition = "debug"
tiers = [{ max_nodes = 2, walltime = "0:30:00" }]
[queues.batch]
partition = "batch"
tiers = [{ max_nodes = 4, walltime = "2-00:00:00" }]
[queues.single]
partition = "batch"
chain = false
[queues.gone]
partition = "gone"
[queues.mistaken]
partition = "debug"
tiers = [{ max_nodes = 100, walltime = "10:00:00" }]
"""

SLOW = "import time\ndef run(config):\n    time.sleep(60)\n    return 1.0\n"


@pytest.fixture(autouse=True)
def here(
    slurm: Any, search_files: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> Iterator[Path]:
    """A folder with a search that lasts, on the site lab; what a test has submitted is cancelled at its end."""
    (search_files / "sites").mkdir()
    (search_files / "sites" / "lab.toml").write_text(SITE)
    monkeypatch.setenv("HPCSEARCH_SITE_PATH", str(search_files / "sites"))
    for name in ("SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    (search_files / "model_run.py").write_text(SLOW)
    before = jobs()
    yield search_files
    made = [*(jobs() - before)]
    if made:
        subprocess.run(["scancel", *made], check=False)
        wait_until(lambda: not jobs() & set(made))


def jobs(*options: str) -> set[str]:
    """The ids of the jobs of these tests that Slurm has now."""
    argv = ["squeue", "--noheader", "--name=poly", "--format=%i", *options]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def hpcsearch(*arguments: str) -> int:
    return run(hpcsearch_command, arguments, "hpcsearch")


def submit(*options: str, queue: str = "batch", account: str = "lab", nodes: int = 1, minutes: str = "10") -> int:
    line = f"submit hps poly -p problem.py -r model_run.py --search random --site lab -n {nodes} -t {minutes}"
    return hpcsearch(*line.split(), "-q", queue, "-A", account, *options)


def layout() -> Layout:
    return Layout(Path("workflows", "poly").absolute())


def snapshot() -> Snapshot:
    return take_snapshot(layout())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"queue": "gone"}, 6, "invalid partition specified: gone"),
        ({"account": "nobody"}, 6, "Invalid account"),
        ({"queue": "debug", "minutes": "31"}, 2, "for 0:31:00 use batch (up to 48:00:00)"),
        ({"queue": "debug", "nodes": 3}, 2, "takes at most 2 nodes on lab; for 3 nodes use batch"),
        ({"nodes": 5}, 2, "takes at most 4 nodes"),
        ({"queue": "nope"}, 2, "has no queue 'nope'"),
    ],
)
def test_what_is_refused_leaves_no_job_and_no_file(
    here: Path, options: dict[str, Any], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = jobs()
    assert submit(**options) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 2, "a sentence, and what to type"
    assert "Traceback" not in printed.err
    assert jobs() == before
    workflows = here / "workflows"
    assert not workflows.exists() or list(workflows.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        ((), {"queue": "single", "minutes": "10", "chain": "2"}, "not for allocations that follow each other"),
        (("--ranks-per-node", "2"), {}, "no meaning in job mode serial"),
    ],
)
def test_what_this_version_or_queue_does_not_have(
    here: Path, options: tuple[str, ...], more: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = ("--chain", more.pop("chain")) if "chain" in more else ()
    assert submit(*options, *chain, **more) == 2  # type: ignore[arg-type]
    assert said in capsys.readouterr().err
    assert not (here / "workflows").exists()


@pytest.mark.parametrize("options", [{"minutes": "31"}, {"nodes": 9}])
def test_what_slurm_takes_and_never_starts_is_said_at_once(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(queue="mistaken", **options) == 0
    printed = capsys.readouterr().out
    block = printed.partition("Submit OK")[2]
    assert "Allocation 1 was accepted, but: It asks for more" in block
    assert "it will never start." in block
    assert "'hpcsearch cancel poly'" in block
    assert hpcsearch("status", "poly") == 0
    assert "it will never start." in capsys.readouterr().out
    assert len(snapshot().live) == 1


def test_there_is_no_waiting_for_what_never_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit("--wait", queue="mistaken", minutes="31") == 9
    assert "queued in vain. It asks for more" in capsys.readouterr().err


def test_variables_that_are_not_passed_on_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    assert submit() == 0
    assert "would override the job script: SBATCH_PARTITION.\n" in capsys.readouterr().out
    (identifier,) = [one.scheduler_id for one in snapshot().allocations]
    assert str(identifier) in jobs("--partition=batch")


def dependency(identifier: str) -> str:
    argv = ["squeue", "--noheader", "--format=%E", f"--jobs={identifier}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_a_chain_follows_and_is_cancelled_as_a_whole(
    capsys: pytest.CaptureFixture[str], wait_until: Callable[..., None]
) -> None:
    assert submit("--chain", "3") == 0
    first, second, third = (str(one.scheduler_id) for one in snapshot().allocations)
    assert f"allocations 2 ({second}), 3 ({third})." in capsys.readouterr().out
    assert dependency(second).startswith(f"afterany:{first}")
    assert dependency(third).startswith(f"afterany:{second}")
    for number in (1, 2, 3):
        assert layout().plan(number).exists()
        assert (layout().allocation(number) / "job.sh").exists()
    check_chain(snapshot, hpcsearch, wait_until, lambda: not jobs() & {first, second, third}, capsys)


@pytest.fixture
def two_jobs_at_most(slurm: Any) -> Iterator[None]:
    """Slurm takes no third job of this user, beyond those that were there."""
    listed = subprocess.run(["squeue", "--noheader", "--user=root"], capture_output=True, text=True, check=True).stdout
    limit = len(listed.splitlines()) + 2
    change = ["sacctmgr", "--immediate", "modify", "user", "root", "where", "account=lab", "set"]
    subprocess.run([*change, f"MaxSubmitJobs={limit}"], check=True, capture_output=True)
    yield
    subprocess.run([*change, "MaxSubmitJobs=-1"], check=True, capture_output=True)


def test_a_chain_that_is_refused_in_the_middle_leaves_nothing(
    two_jobs_at_most: None, here: Path, capsys: pytest.CaptureFixture[str], wait_until: Callable[..., None]
) -> None:
    before = jobs()
    assert submit("--chain", "3") == 6
    printed = capsys.readouterr()
    assert "Performing job submission...failed" in printed.out
    assert "Slurm refused the allocation" in printed.err
    wait_until(lambda: jobs() == before)
    assert list((here / "workflows").iterdir()) == []


def test_a_resumed_chain_keeps_what_was_taken(
    two_jobs_at_most: None, capsys: pytest.CaptureFixture[str], wait_until: Callable[..., None]
) -> None:
    assert submit() == 0
    wait_until(lambda: snapshot().running > 0)
    assert hpcsearch("cancel", "poly") == 0
    wait_until(lambda: not snapshot().live)
    capsys.readouterr()
    assert hpcsearch("resume", "poly", "--chain", "3") == 6
    said = capsys.readouterr().err
    assert "Of 3 allocations 2 were submitted: allocations 2 to 3 stay." in said
    assert [one.number for one in snapshot().live] == [2, 3]
    assert not layout().allocation(4).exists()
