"""Nodes given back on a real Slurm: when another's job starts on them, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import schedulers
from hpcsearch.schedulers import AllocationState
from hpcsearch.sites.find import find_site

SITE = dataclasses.replace(find_site("slurm"), poll_interval_s=0)

#: A driver that keeps a step on every node, as agents do, and says when one ends.
STEPS = """for host in $(scontrol show hostnames); do
  (srun --overlap -N1 -n1 -w $host sleep 120; echo $host $?) &
done
sleep 120"""


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


def hosts_of(job_id: str) -> list[str]:
    return output("scontrol", "show", "hostnames", output("squeue", "-h", "-j", job_id, "-o", "%N")).split()


def test_three_idle_nodes_go_to_a_waiting_job(
    slurm: Any,
    submit: Callable[..., Any],
    sbatch_as_alice: Any,
    tmp_path: Path,
    wait_until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request, job = submit(STEPS, site=SITE, nodes=4)
    wait_until(lambda: output("squeue", "-h", "-s", "-j", job.job_id, "-o", "%i").count("\n") == 4)
    first, *others = output("scontrol", "show", "hostnames", "sn[1-4]").split()
    other = sbatch_as_alice("sleep 60", "-N3", "--exclusive")
    assert output("squeue", "-h", "-j", other, "-o", "%T") == "PENDING"
    # As in the job itself, where the driver asks
    inside = {"JOBID": job.job_id, "JOB_NODELIST": "sn[1-4]", "JOB_NUM_NODES": "4"}
    for name, value in inside.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    outcome = schedulers.release(SITE, job.job_id, [first], others, tmp_path)
    released = time.monotonic()
    assert outcome.released, outcome.sentence
    stale = {"SLURM_JOB_NODELIST": first, "SLURM_JOB_NUM_NODES": "1"}
    assert outcome.environment == stale
    wait_until(lambda: output("squeue", "-h", "-j", other, "-o", "%T") == "RUNNING")
    assert time.monotonic() - released < 5
    assert output("squeue", "-h", "-j", job.job_id, "-o", "%T %N") == f"RUNNING {first}"
    wait_until(lambda: len(request.stdout.read_text().splitlines()) == 3)
    assert sorted(request.stdout.read_text().splitlines()) == [f"{host} 137" for host in others]
    assert not list(tmp_path.glob("release-*")), "the resize script is cleared away"
    assert not list(Path.cwd().glob("slurm_job_*"))


def test_nodes_go_back_one_after_the_other_where_accounting_is(
    slurm: Any, submit: Callable[..., Any], tmp_path: Path, wait_until: Any
) -> None:
    _, job = submit("sleep 120", site=SITE, nodes=3)
    wait_until(lambda: job.status().state is AllocationState.RUNNING)
    hosts = hosts_of(job.job_id)
    for count in (2, 1):
        end = time.monotonic() + 30
        outcome = schedulers.release(SITE, job.job_id, hosts[:count], hosts[count : count + 1], tmp_path)
        while outcome.again and time.monotonic() < end:
            outcome = schedulers.release(SITE, job.job_id, hosts[:count], hosts[count : count + 1], tmp_path)
        assert outcome.released, outcome.sentence
    assert output("squeue", "-h", "-j", job.job_id, "-o", "%D") == "1"


def test_what_slurm_does_not_take_back_is_said(
    slurm: Any, submit: Callable[..., Any], tmp_path: Path, wait_until: Any
) -> None:
    _, job = submit("sleep 120", site=SITE, nodes=2)
    wait_until(lambda: job.status().state is AllocationState.RUNNING)
    first, second = hosts_of(job.job_id)
    outcome = schedulers.release(SITE, job.job_id, [second], [first], tmp_path)
    assert (outcome.released, outcome.again) == (False, False)
    assert "its first node always stays" in outcome.sentence
    assert output("squeue", "-h", "-j", job.job_id, "-o", "%D") == "2"
    schedulers.cancel(SITE, job.job_id)
    wait_until(lambda: job.status().state is AllocationState.ENDED)
    outcome = schedulers.release(SITE, job.job_id, [first], [second], tmp_path)
    assert (outcome.released, outcome.again) == (False, False)


def test_without_accounting_one_batch_of_nodes_goes_back(
    slurm_without_accounting: Any, submit: Callable[..., Any], tmp_path: Path, wait_until: Any
) -> None:
    _, job = submit("sleep 120", site=SITE, nodes=3)
    wait_until(lambda: job.status().state is AllocationState.RUNNING)
    first, second, third = hosts_of(job.job_id)
    assert schedulers.release(SITE, job.job_id, [first, second], [third], tmp_path).released
    outcome = schedulers.release(SITE, job.job_id, [first], [second], tmp_path)
    assert (outcome.released, outcome.again) == (False, False)
    assert outcome.sentence == "without slurmdbd, Slurm changes the size of a job only once"
    assert output("squeue", "-h", "-j", job.job_id, "-o", "%D") == "2"


def test_a_machine_that_forbids_it_is_believed(
    slurm_without_release: Any, submit: Callable[..., Any], tmp_path: Path, wait_until: Any
) -> None:
    _, job = submit("sleep 120", site=SITE, nodes=2)
    wait_until(lambda: job.status().state is AllocationState.RUNNING)
    first, second = hosts_of(job.job_id)
    outcome = schedulers.release(SITE, job.job_id, [first], [second], tmp_path)
    assert (outcome.released, outcome.again) == (False, False)
    assert "disable_job_shrink" in outcome.sentence
