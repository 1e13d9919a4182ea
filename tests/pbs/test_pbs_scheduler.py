"""Submission, status, cancelling and release on PBS: what it refuses, what it never starts, how jobs end."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pbs_cluster import PbsCluster, wait_for

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import AllocationState, EndCause
from hpcsearch.sites.find import find_site

SITE = dataclasses.replace(find_site("pbs"), poll_interval_s=0)

#: A driver with a task on each node, which all say what they hear.
EVERYWHERE = """export say='trap "echo $0 told" TERM; echo $0; while :; do sleep 0.1; done'
for host in $(cat $PBS_NODEFILE); do pbs_tmrsh $host /bin/sh -c "$say" $host & done
trap 'echo driver told' TERM
while :; do sleep 0.1; done"""


def runs(job: Any) -> bool:
    return bool(job.status().state is AllocationState.RUNNING)


def ended(job: Any) -> bool:
    return bool(job.status().state is AllocationState.ENDED)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_what_can_never_run_is_said_at_submit(submit: Callable[..., Any]) -> None:
    _, job = submit("exit 0", site=SITE, nodes=9)
    status = schedulers.first_look(SITE, job.job_id)
    assert (status.state, status.can_run) == (AllocationState.QUEUED, False)
    assert status.reason.endswith("(Not enough total nodes available): it will never start.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queue": "nope"}, "no such queue"),
        ({"queue": "debug", "nodes": 3}, "more than the queue or the server allows"),
        ({"queue": "debug", "walltime_s": 660}, "more than the queue or the server allows"),
        ({"site": dataclasses.replace(SITE, chunk="ngpus=4")}, "no such resource"),
    ],
)
def test_what_pbs_refuses_leaves_nothing(
    submit: Callable[..., Any], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SchedulerError, match=words) as error:
        submit("exit 0", **changes)
    assert error.value.hint
    assert list((tmp_path / "allocations/1").iterdir()) == []


def test_a_server_that_is_down_is_named(pbs: PbsCluster, submit: Callable[..., Any]) -> None:
    _, job = submit("sleep 60", site=SITE)
    with pbs.server.changing() as state:
        state.settings.down = True
    with pytest.raises(SchedulerError, match="does not answer"):
        submit("exit 0", site=SITE)
    with pytest.raises(SchedulerError, match="did not cancel"):
        schedulers.cancel(SITE, job.job_id)
    with pytest.raises(SchedulerError, match="qstat gave no answer"):
        schedulers.status(SITE, [job.job_id])


def test_a_job_has_its_files_and_its_place(submit: Callable[..., Any], tmp_path: Path) -> None:
    request, job = submit("echo $HPCSEARCH_SCHEDULER_ID $PWD; sort -u $PBS_NODEFILE; echo bad >&2", site=SITE, nodes=3)
    wait_for(lambda: ended(job))
    assert lines(request.stdout) == [f"{job.job_id} {tmp_path}", "pn1", "pn2", "pn3"]
    assert lines(request.stderr) == ["bad"]
    assert job.status().cause is EndCause.DONE


def test_an_allocation_that_fails_says_how(submit: Callable[..., Any]) -> None:
    _, failing = submit("exit 7", site=SITE)
    _, told = submit("exec sleep 60", site=SITE)
    wait_for(lambda: runs(told))
    subprocess.run(["qsig", "-s", "USR1", told.job_id], check=True)
    wait_for(lambda: ended(failing) and ended(told))
    assert {job.status().cause for job in (failing, told)} == {EndCause.FAILED}
    assert failing.status().reason == "Its script ended with exit status 7."
    assert told.status().reason == "It was ended by SIGUSR1."


def test_status_follows_a_job_to_its_end(submit: Callable[..., Any]) -> None:
    _, job = submit("exec sleep 60", site=SITE)
    wait_for(lambda: runs(job))
    assert 0 < job.status().time_left_s <= 600
    schedulers.cancel(SITE, job.job_id)
    wait_for(lambda: ended(job))
    assert (job.status().cause, job.status().reason) == (EndCause.CANCELLED, "It was cancelled by root@pbshead.")
    schedulers.cancel(SITE, job.job_id)


def test_allocations_follow_each_other(submit: Callable[..., Any]) -> None:
    _, first = submit("exec sleep 60", site=SITE)
    _, second = submit("exit 0", site=SITE, after=first.job_id)
    wait_for(lambda: runs(first))
    assert second.status().reason == "It waits for an earlier allocation to end."
    schedulers.cancel(SITE, first.job_id)
    wait_for(lambda: ended(second))
    assert second.status().cause is EndCause.DONE
    with pytest.raises(SchedulerError, match=r"knows no job 999\.pbshead"):
        submit("exit 0", site=SITE, after="999.pbshead")


def test_the_end_of_the_walltime_is_told_to_the_first_node_only(submit: Callable[..., Any]) -> None:
    request, job = submit(EVERYWHERE, site=SITE, nodes=3, walltime_s=4)
    wait_for(lambda: ended(job))
    assert (job.status().cause, job.status().reason) == (EndCause.WALLTIME, "Its walltime was over.")
    said = lines(request.stdout)
    assert said.count("driver told") == 1
    assert {"pn1", "pn2", "pn3"} <= set(said) and not {"pn2 told", "pn3 told"} & set(said)


def test_nodes_go_back_to_a_waiting_job(pbs: PbsCluster, submit: Callable[..., Any], tmp_path: Path) -> None:
    with pbs.server.changing() as state:
        state.settings.release_from_s = 4.0
    request, job = submit("sleep 1; cat $PBS_NODEFILE; sleep 60", site=SITE, nodes=4)
    _, other = submit("exec sleep 60", site=SITE, nodes=2)
    wait_for(lambda: runs(job))
    early = schedulers.release(SITE, job.job_id, ["pn1", "pn2"], ["pn3", "pn4"], tmp_path)
    assert (early.released, early.again) == (False, True)
    assert "only just begun" in early.sentence
    wait_for(lambda: schedulers.release(SITE, job.job_id, ["pn1", "pn2"], ["pn3", "pn4"], tmp_path).released)
    wait_for(lambda: runs(other))
    mine, others = pbs.server.read().jobs.values()
    assert (mine.hosts, others.hosts) == (["pn1", "pn2"], ["pn3", "pn4"])
    assert pbs.server.node_file(mine).read_text() == "pn1\npn2\n"
    refused = schedulers.release(SITE, job.job_id, ["pn2"], ["pn1"], tmp_path)
    assert (refused.released, refused.again) == (False, False)
    assert "its first node always stays" in refused.sentence
    assert lines(request.stdout) == ["pn1", "pn2", "pn3", "pn4"]
    pbs.crash(2)
    assert schedulers.release(SITE, job.job_id, ["pn1"], ["pn2"], tmp_path).released, "a node that has died can go"
