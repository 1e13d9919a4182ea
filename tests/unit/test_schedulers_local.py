"""Site local as a scheduler: allocations as processes, seen from any process."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import UncompletedJobError

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError, UsageError
from hpcsearch.schedulers import AllocationRequest, AllocationState
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.processes import ProcessId
from hpcsearch.schedulers.result import read_exit_status, result_file, write_result
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import read_site
from hpcsearch.sites.render import render_job_script

SITE = find_site("local")


def request_for(tmp_path: Path, driver: str, **changes: Any) -> AllocationRequest:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/bash\n{driver}\n")
    python.chmod(0o755)
    values: dict[str, Any] = {
        "workflow": "poly",
        "directory": tmp_path,
        "number": 3,
        "folder": tmp_path / "allocations/3",
        "site": SITE,
        "queue": "local",
        "account": "none",
        "nodes": 1,
        "walltime_s": 60,
        "job_mode": "serial",
        "python": str(python),
        "cwd": tmp_path,
        "job_name": "poly",
    }
    return AllocationRequest(**{**values, **changes})


def submit(request: AllocationRequest) -> Any:
    return schedulers.submit(request, render_job_script(request))


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def state(job: Any) -> AllocationState:
    return schedulers.status(SITE, [job.job_id])[job.job_id].state


def test_an_allocation_runs_in_a_session_of_its_own_and_ends(tmp_path: Path) -> None:
    request = request_for(tmp_path, "echo out; echo err >&2; until [ -e go ]; do sleep 0.01; done")
    job = submit(request)
    try:
        assert state(job) is AllocationState.RUNNING
        assert not job.done()
        assert os.getsid(ProcessId.parse(job.job_id).pid) != os.getsid(0)
        until(lambda: job.stdout() == "out\n")
        until(lambda: job.stderr() == "err\n")
    finally:
        (tmp_path / "go").touch()
    job.wait()
    assert state(job) is AllocationState.ENDED
    assert read_exit_status(request.folder) == 0
    assert stat.S_IMODE(request.script.stat().st_mode) == 0o700
    assert read_site(request.folder / "site.json") == SITE


def test_the_script_starts_within_30_ms(tmp_path: Path) -> None:
    times = []
    for number in range(5):
        line = f'echo "$EPOCHREALTIME" >{tmp_path}/first-{number}\n'
        request = request_for(tmp_path, "exit 0", folder=tmp_path / f"allocations/{number}")
        script = render_job_script(request).replace("#!/bin/bash\n", f"#!/bin/bash\n{line}", 1)
        submitted = time.time()
        job = schedulers.submit(request, script)
        job.wait()
        times.append(float((tmp_path / f"first-{number}").read_text()) - submitted)
    assert min(times) < 0.03


def test_cancel_reaches_the_driver_from_another_process(tmp_path: Path) -> None:
    request = request_for(tmp_path, "trap 'echo drained; exit 0' TERM; echo ready; while :; do sleep 0.02; done")
    job = submit(request)
    until(lambda: job.stdout() == "ready\n")
    code = "import sys; from hpcsearch import schedulers; from hpcsearch.sites.find import find_site\n"
    code += "site = find_site('local'); print(schedulers.status(site, [sys.argv[1]])[sys.argv[1]].state)\n"
    code += "schedulers.cancel(site, sys.argv[1]); print('submitit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, job.job_id], capture_output=True, text=True, check=True)
    assert done.stdout == "RUNNING\nFalse\n"
    job.wait()
    assert job.stdout() == "ready\ndrained\n"
    job.cancel()


def test_the_driver_s_result_is_the_job_s(tmp_path: Path) -> None:
    write = "import os, sys, pathlib; from hpcsearch.schedulers.result import write_result; "
    write += "write_result(pathlib.Path('allocations/3'), os.environ['HPCSEARCH_SCHEDULER_ID'], {'evaluations': 7})"
    job = submit(request_for(tmp_path, f'PYTHONPATH={Path.cwd()} {sys.executable} -c "{write}"'))
    assert job.result() == {"evaluations": 7}
    assert job.exception() is None
    assert pickle.loads(pickle.dumps(job)).result() == {"evaluations": 7}


def test_a_job_that_left_no_result_says_so_with_its_output(tmp_path: Path) -> None:
    job = submit(request_for(tmp_path, "echo no node came up >&2; exit 9"))
    with pytest.raises(UncompletedJobError, match="no node came up"):
        job.result()


def test_a_folder_is_used_once(tmp_path: Path) -> None:
    request = request_for(tmp_path, "exit 0")
    submit(request).wait()
    before = sorted(request.folder.iterdir())
    with pytest.raises(UsageError, match="holds an allocation already"):
        submit(request)
    assert sorted(request.folder.iterdir()) == before


def test_a_submission_that_fails_leaves_no_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    request = request_for(tmp_path, "exit 0")
    with pytest.raises(SchedulerError, match="bash cannot be started: No such file"):
        submit(request)
    assert not request.script.exists()
    assert not (request.folder / "site.json").exists()


def test_a_reused_process_id_is_not_taken_for_the_allocation() -> None:
    process = ProcessId.of(os.getpid())
    assert process.alive()
    assert ProcessId.parse(str(process)) == process
    other = ProcessId(process.pid, process.start - 1, process.host)
    assert not other.alive()
    other.send(signal.SIGKILL)


def test_a_zombie_has_ended() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        process = ProcessId.of(child.pid)
        child.kill()
        until(lambda: not process.alive())
    with pytest.raises(ProcessLookupError):
        ProcessId.of(child.pid)


def test_another_host_s_process_is_unknown_and_not_cancelled() -> None:
    identifier = f"{os.getpid()}.1.login7.hill.example"
    found = schedulers.status(SITE, [identifier, "nonsense"])
    assert found[identifier].state is AllocationState.UNKNOWN
    assert "login7.hill.example" in found[identifier].reason
    assert found["nonsense"].state is AllocationState.UNKNOWN
    with pytest.raises(SchedulerError, match=r"login7\.hill\.example"):
        schedulers.cancel(SITE, identifier)
    with pytest.raises(SchedulerError, match="no id"):
        schedulers.cancel(SITE, "nonsense")


def test_dry_run_names_the_command(tmp_path: Path) -> None:
    request = request_for(tmp_path, "")
    assert schedulers.submission_argv(request) == ("bash", str(tmp_path / "allocations/3/job.sh"))


def test_submitit_s_functions_still_run(tmp_path: Path) -> None:
    executor: Any = schedulers.executor(SITE, tmp_path)
    assert executor.submit(int, "7").result() == 7


def test_commands_that_are_missing_or_slow_are_errors_in_words() -> None:
    with pytest.raises(SchedulerError, match="hpcsearch-no-such is not on this machine"):
        run(["hpcsearch-no-such"])
    with pytest.raises(SchedulerError, match=r"gave no answer within 0\.1 s"):
        run(["sleep", "5"], timeout_s=0.1)
    done = run(["sh", "-c", "echo out; echo a >&2; echo b >&2; exit 3"])
    assert (done.status, done.stdout, done.said) == (3, "out\n", "a b")


def test_results_replace_each_other_whole(tmp_path: Path) -> None:
    for value in (1, 2):
        write_result(tmp_path, "7.1.host", value)
    assert pickle.loads(result_file(tmp_path, "7.1.host").read_bytes()) == ("success", 2)
    assert [file.name for file in tmp_path.iterdir()] == ["7.1.host_0_result.pkl"]
    assert read_exit_status(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queue": "a b"}, "queue 'a b'"),
        ({"account": "-x"}, "account '-x'"),
        ({"workflow": "a\nb"}, "workflow name"),
        ({"workflow": ""}, "workflow name"),
        ({"cwd": Path("here")}, "must be absolute"),
    ],
)
def test_names_that_no_scheduler_takes_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        request_for(tmp_path, "", **changes)
