"""Submission, status and cancelling on a real Slurm: what it refuses, what it never starts, what a job really gets."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import AllocationState, EndCause
from hpcsearch.schedulers import slurm as slurm_scheduler
from hpcsearch.sites.find import find_site

SITE = dataclasses.replace(find_site("slurm"), poll_interval_s=0)

#: A driver that runs one step on each node with all its CPUs, as agents are started.
ALL_CPUS = """for host in $(scontrol show hostnames); do
  srun --overlap -N1 -n1 -c{cpus} --cpu-bind=none --mem=0 -w $host \\
    sh -c 'echo $(hostname) $SLURM_CPUS_PER_TASK $(env -u OMP_NUM_THREADS nproc)' </dev/null
done"""


def facts(job_id: str) -> dict[str, str]:
    text = subprocess.run(["scontrol", "show", "job", "-o", job_id], capture_output=True, text=True, check=True).stdout
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


@pytest.mark.parametrize("changes", [{"walltime_s": 1860}, {"nodes": 9}])
def test_what_can_never_run_is_said_at_submit(slurm: Any, submit: Callable[..., Any], changes: dict[str, int]) -> None:
    _, job = submit("exit 0", site=SITE, **changes)
    status = schedulers.first_look(SITE, job.job_id)
    assert (status.state, status.can_run) == (AllocationState.QUEUED, False)
    assert status.reason.endswith("than the partition allows: it will never start.")


def test_the_first_look_keeps_to_the_interval(slurm: Any, submit: Callable[..., Any]) -> None:
    site = dataclasses.replace(SITE, poll_interval_s=3600)
    _, first = submit("exit 0", site=site, nodes=9)
    assert not schedulers.first_look(site, first.job_id).can_run
    _, second = submit("exit 0", site=site, nodes=9)
    assert schedulers.first_look(site, second.job_id).can_run


@pytest.mark.parametrize(("change", "words"), [({"queue": "nope"}, "partition"), ({"account": "nope"}, "account")])
def test_what_slurm_refuses_leaves_nothing(
    slurm: Any, submit: Callable[..., Any], tmp_path: Path, change: dict[str, str], words: str
) -> None:
    with pytest.raises(SchedulerError, match=words) as error:
        submit("exit 0", **change)
    assert error.value.hint
    assert list((tmp_path / "allocations/1").iterdir()) == []


def test_a_job_gets_all_cpus_of_all_its_nodes(slurm: Any, submit: Callable[..., Any]) -> None:
    request, job = submit(ALL_CPUS.format(cpus=slurm.cpus), site=SITE, nodes=4)
    job.wait()
    lines = [line.split()[:2] for line in request.stdout.read_text().splitlines()]
    assert lines == [[f"sn{number}", str(slurm.cpus)] for number in range(1, 5)]
    assert job.status().cause is EndCause.DONE


def test_bound_steps_get_all_cpus_of_all_nodes(bound_slurm: Any, submit: Callable[..., Any]) -> None:
    request, job = submit(ALL_CPUS.format(cpus=bound_slurm.cpus), site=SITE, nodes=4)
    job.wait()
    lines = [line.split() for line in request.stdout.read_text().splitlines()]
    cpus = str(bound_slurm.cpus)
    assert lines == [[f"sn{number}", cpus, cpus] for number in range(1, 5)], request.stderr.read_text()


def test_a_queue_of_shared_nodes_gets_the_cores_it_states(slurm: Any, submit: Callable[..., Any]) -> None:
    queue = dataclasses.replace(SITE.queue("batch"), cpus_per_node=2, memory_mb=300)
    site = dataclasses.replace(SITE, queues=(queue,))
    request, job = submit("echo $SLURM_JOB_CPUS_PER_NODE $SLURM_MEM_PER_NODE", site=site, queue="batch", nodes=2)
    job.wait()
    assert request.stdout.read_text() == "2(x2) 300\n"


def test_the_submitter_s_variables_do_not_change_the_script(
    slurm: Any, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "batch")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    _, job = submit("sleep 60", site=SITE)
    told = facts(job.job_id)
    assert (told["Partition"], told["TimeLimit"], told["OverSubscribe"]) == ("debug", "00:10:00", "NO")
    assert schedulers.dropped_variables(SITE, {"SBATCH_PARTITION": "batch"}) == ("SBATCH_PARTITION",)


def test_allocations_follow_each_other(slurm: Any, submit: Callable[..., Any], wait_until: Any) -> None:
    _, first = submit("sleep 60", site=SITE)
    _, second = submit("exit 0", site=SITE, after=first.job_id)
    wait_until(lambda: first.status().state is AllocationState.RUNNING)
    assert second.status().reason == "It waits for an earlier allocation to end."
    schedulers.cancel(SITE, first.job_id)
    wait_until(lambda: second.status().state is AllocationState.ENDED)
    assert second.status().cause is EndCause.DONE


@pytest.mark.parametrize("requeue", [False, True])
def test_preemptable_queues_say_whether_jobs_come_back(slurm: Any, submit: Callable[..., Any], requeue: bool) -> None:
    queue = dataclasses.replace(SITE.queue("batch"), preemptable=True, requeue=requeue)
    _, job = submit("sleep 60", site=dataclasses.replace(SITE, queues=(queue,)), queue="batch")
    assert facts(job.job_id)["Requeue"] == str(int(requeue))


def test_status_follows_a_job_to_its_end(slurm: Any, submit: Callable[..., Any], wait_until: Any) -> None:
    _, job = submit("sleep 60", site=SITE)
    wait_until(lambda: job.status().state is AllocationState.RUNNING)
    assert 0 < job.status().time_left_s <= 600
    schedulers.cancel(SITE, job.job_id)
    wait_until(lambda: job.status().state is AllocationState.ENDED)
    assert job.status().cause is EndCause.CANCELLED
    schedulers.cancel(SITE, job.job_id)
    wait_until(lambda: slurm_scheduler.query([job.job_id])[job.job_id].reason == "It was cancelled by root.")


@pytest.mark.slow
def test_the_driver_is_told_before_the_end(slurm: Any, submit: Callable[..., Any]) -> None:
    site = dataclasses.replace(SITE, drain_margin_s=50)
    driver = "trap 'echo told; exit 0' USR1; for i in $(seq 300); do sleep 0.2; done; exit 3"
    request, job = submit(driver, site=site, walltime_s=60)
    job.wait()
    assert request.stdout.read_text() == "told\n"
    assert (request.folder / "exit_status").read_text() == "0\n"
    assert job.status().cause is EndCause.DONE
