"""Job scripts: what they say, that nothing gets into them, and how they treat a driver that dies."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcsearch.errors import SiteError, UsageError
from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Queue, Site, Tier, limits
from hpcsearch.sites.find import data_folder, find_site
from hpcsearch.sites.load import load_site
from hpcsearch.sites.render import render_job_script

GOLDEN = Path(__file__).parents[1] / "golden"
CLUSTER = Path(__file__).parents[1] / "cluster"
SCRIPTS = [file.stem for file in sorted(data_folder("site_configs").glob("*.toml"))]


def request_for(site: Site, **changes: Any) -> AllocationRequest:
    directory = changes.get("directory", Path("/scratch/her/workflows/poly"))
    values: dict[str, Any] = {
        "workflow": "poly",
        "directory": directory,
        "number": 1,
        "folder": directory / "allocations/1",
        "site": site,
        "queue": site.queues[0].name if site.queues else "batch",
        "account": "lab",
        "nodes": 1,
        "walltime_s": 1800,
        "job_mode": "serial",
        "python": "/opt/python/bin/python3",
        "cwd": Path("/home/her"),
        "job_name": "poly",
    }
    return AllocationRequest(**{**values, **changes})


def local_request(tmp_path: Path, driver: str, **changes: Any) -> AllocationRequest:
    """A request whose "Python" is a shell script."""
    python = tmp_path / "a python"
    python.write_text(f"#!/bin/bash\n{driver}\n")
    python.chmod(0o755)
    directory = tmp_path / "a workflow"
    values = {"site": find_site("local"), "directory": directory, "python": str(python), "cwd": tmp_path, **changes}
    request = request_for(**values)
    request.folder.mkdir(parents=True)
    request.script.write_text(render_job_script(request))
    return request


def start(request: AllocationRequest) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", request.script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(request: AllocationRequest) -> tuple[int, str, str]:
    with start(request) as process:
        stdout, stderr = process.communicate(timeout=10)
    return process.returncode, stdout, stderr


def golden_requests(site: Site) -> dict[str, AllocationRequest]:
    """The smallest and largest request that the site's first and last queue take, and one with odd names."""
    first = site.queues[0] if site.queues else site.queue("batch")
    last = site.queues[-1] if site.queues else first
    smallest, largest = first.tiers[:1] or (Tier(),), last.tiers[-1:] or (Tier(1, 64, 86400),)
    odd = {"workflow": "it's 100% $HOME", "cwd": Path("/a b/`c`"), "directory": Path("/scratch/her 100%/poly")}
    nodes = {"nodes": max(1, smallest[0].min_nodes), "queue": first.name}
    return {
        "small": request_for(site, **nodes),
        "large": request_for(
            site,
            queue=last.name,
            nodes=largest[0].max_nodes or 8,
            walltime_s=largest[0].walltime_s,
            job_mode="mpi",
            number=12,
        ),
        "odd": request_for(site, **nodes, **odd),
    }


@pytest.mark.parametrize("stem", SCRIPTS)
def test_the_script_of_every_site_is_the_golden_one(stem: str) -> None:
    site = load_site(data_folder("site_configs") / f"{stem}.toml")
    for name, request in golden_requests(site).items():
        limits.check_request(site, request.queue, request.nodes, request.walltime_s, request.account)
        text = render_job_script(request)
        golden = GOLDEN / f"{stem}-{name}.sh"
        if os.environ.get("HPCSEARCH_WRITE_GOLDEN"):
            golden.write_text(text)
        assert text == golden.read_text()


def test_every_golden_script_belongs_to_a_site() -> None:
    written = {file.stem for file in GOLDEN.glob("*.sh")}
    assert written == {f"{stem}-{name}" for stem in SCRIPTS for name in ("small", "large", "odd")}


@pytest.fixture(scope="session")
def shellcheck() -> str:
    """The program; root on Debian installs it."""
    if not shutil.which("shellcheck"):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip("shellcheck is missing, and is installed only as root on Debian")
        subprocess.run([CLUSTER / "install.sh", "shellcheck"], check=True)
    return "shellcheck"


def test_shellcheck_finds_nothing_in_any_golden_script(shellcheck: str) -> None:
    files = sorted(GOLDEN.glob("*.sh"))
    assert files
    # SC2016: what is in single quotes is meant not to expand
    done = subprocess.run([shellcheck, "-e", "SC2016", *files], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_shellcheck_finds_nothing_in_the_cluster_s_scripts(shellcheck: str) -> None:
    done = subprocess.run([shellcheck, *sorted(CLUSTER.glob("*.sh"))], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_queue_of_shared_nodes_states_cores_and_memory() -> None:
    queue = Queue("shared", cpus_per_node=8, memory_mb=4000)
    text = render_job_script(request_for(Site("own", "slurm", queues=(queue,))))
    assert "#SBATCH --ntasks-per-node=1\n#SBATCH --cpus-per-task=8\n#SBATCH --mem=4000M\n" in text
    assert "--exclusive" not in text
    text = render_job_script(request_for(Site("own", "pbs", queues=(queue,), chunk="arch=x")))
    assert "#PBS -l select=1:ncpus=8:mem=4000mb:arch=x\n" in text


def test_an_allocation_may_wait_for_an_earlier_one() -> None:
    for scheduler, line in (("slurm", "#SBATCH --dependency=afterany:7\n"), ("pbs", "#PBS -W depend=afterany:7\n")):
        site = Site("own", scheduler, open_queues=True)
        assert line in render_job_script(request_for(site, after="7"))
        assert "afterany" not in render_job_script(request_for(site))
    with pytest.raises(UsageError, match="no id"):
        request_for(Site("own", "slurm", open_queues=True), after="7 --x")


@pytest.mark.parametrize(("requeue", "slurm", "pbs"), [(True, "--requeue", "-r y"), (False, "--no-requeue", "-r n")])
def test_preemptable_queues_say_whether_a_job_is_queued_again(requeue: bool, slurm: str, pbs: str) -> None:
    queue = Queue("spare", preemptable=True, requeue=requeue)
    assert f"#SBATCH {slurm}\n" in render_job_script(request_for(Site("own", "slurm", queues=(queue,))))
    assert f"#PBS {pbs}\n" in render_job_script(request_for(Site("own", "pbs", queues=(queue,))))


def test_the_driver_gets_its_arguments_its_deadline_and_its_id(tmp_path: Path) -> None:
    request = local_request(tmp_path, 'printf "%s\\n" "$@" "$PWD" "$HPCSEARCH_DEADLINE" "$HPCSEARCH_SCHEDULER_ID"')
    before = int(time.time())
    process = start(request)
    stdout, stderr = process.communicate(timeout=10)
    *argv, cwd, deadline, identifier = stdout.splitlines()
    assert argv == ["-P", "-m", "hpcsearch.allocation", str(request.directory), "1"]
    assert cwd == str(tmp_path)
    assert before + 1800 <= int(deadline) <= time.time() + 1800
    assert identifier.split(".")[0] == str(process.pid)
    assert (process.returncode, stderr) == (0, "")
    assert (request.folder / "exit_status").read_text() == "0\n"


@pytest.mark.parametrize("status", [1, 2, 9, 20])
def test_a_driver_that_ended_is_not_started_again(tmp_path: Path, status: int) -> None:
    request = local_request(tmp_path, f"echo started; exit {status}")
    assert run(request) == (status, "started\n", "")
    assert (request.folder / "exit_status").read_text() == f"{status}\n"


@pytest.mark.parametrize(("death", "status"), [("kill -9 $$", 137), ("exit 70", 70), ("kill -SEGV $$", 139)])
def test_a_driver_that_died_is_started_again_three_times(tmp_path: Path, death: str, status: int) -> None:
    ended, stdout, stderr = run(local_request(tmp_path, f"echo started; {death}"))
    assert (ended, stdout) == (status, "started\n" * 4)
    lines = [line for line in stderr.splitlines() if line.startswith("hpcsearch: ")]
    assert lines[0] == f"hpcsearch: the driver died (status {status}); starting it again (1 of 3)"
    assert lines[3] == f"hpcsearch: the driver died again (status {status}); given up after 3 restarts"
    assert len(lines) == 4


def test_a_driver_that_recovers_ends_well(tmp_path: Path) -> None:
    ended, stdout, _ = run(local_request(tmp_path, "[ -e died ] && exit 0; echo dies; touch died; kill -9 $$"))
    assert (ended, stdout) == (0, "dies\n")


@pytest.mark.parametrize(
    ("sent", "heard"), [(signal.SIGTERM, "TERM"), (signal.SIGINT, "TERM"), (signal.SIGUSR1, "USR1")]
)
def test_signals_reach_the_driver_and_its_status_is_awaited(tmp_path: Path, sent: signal.Signals, heard: str) -> None:
    driver = f"""trap 'echo heard {heard}; sleep 0.2; echo drained; exit 4' {heard}
        echo ready; while :; do sleep 0.05; done"""
    with start(local_request(tmp_path, driver)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        stdout, _ = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (4, f"heard {heard}\ndrained\n")


def test_a_driver_that_dies_of_the_signal_it_was_sent_is_not_started_again(tmp_path: Path) -> None:
    with start(local_request(tmp_path, "echo ready; exec sleep 30")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (143, "")


def test_many_signals_at_once_lose_nothing(tmp_path: Path) -> None:
    driver = "trap 'drain=1' TERM USR1; echo ready; until [ -n \"$drain\" ]; do sleep 0.05; done; sleep 0.3; exit 5"
    with start(local_request(tmp_path, driver)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(20):
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        process.communicate(timeout=10)
    assert process.returncode == 5


def test_missing_python_and_directory_are_said_in_a_sentence(tmp_path: Path) -> None:
    request = local_request(tmp_path, "")
    Path(request.python).unlink()
    status, _, stderr = run(request)
    assert status == 3
    assert f"no Python at {request.python}" in stderr
    shutil.rmtree(request.folder)
    status, _, stderr = run(local_request(tmp_path, "", cwd=tmp_path / "gone"))
    assert status == 3
    assert "the working directory is not there" in stderr


def test_the_site_s_environment_may_use_unset_variables_and_reaches_the_driver(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/local.toml").write_text(
        'name = "local"\nscheduler = "local"\nenvironment = ["export HILL=\\"$NOT_SET/x\\""]\n[queues.local]\n'
    )
    request = local_request(tmp_path, 'echo "$HILL"', site=find_site("local", workflow=tmp_path))
    assert run(request) == (0, "/x\n", "")


def test_a_site_s_own_template_overrides_blocks(tmp_path: Path) -> None:
    (tmp_path / "own.sh.j2").write_text(
        '{% extends "local.sh.j2" %}{% block environment %}{{ super() }}export MINE={{ workflow }}{% endblock %}'
    )
    site = Site("own", "local", open_queues=True, template=str(tmp_path / "own.sh.j2"))
    text = render_job_script(request_for(site, workflow="a b"))
    assert "export MINE='a b'" in text
    assert "hpcsearch.allocation" in text


def test_a_template_that_uses_what_there_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.sh.j2").write_text('{% extends "local.sh.j2" %}{% block environment %}{{ nope }}{% endblock %}')
    site = Site("own", "local", open_queues=True, template=str(tmp_path / "own.sh.j2"))
    with pytest.raises(SiteError, match="'nope' is undefined"):
        render_job_script(request_for(site))


ECHO = """{% extends "local.sh.j2" %}{% block driver %}
status=0
printf '%s\\0' {{ workflow }} {{ directory }} {{ cwd }} {{ python }} {{ queue }} {{ account }} {{ job_name }}
exit 0
{% endblock %}"""

NASTY = st.text(
    st.sampled_from("ab \t\n\r\0'\"`$(){}\\;&|<>*?!#%~=-\u2028é") | st.characters(), min_size=1, max_size=20
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workflow=NASTY, queue=NASTY, account=NASTY, folder=NASTY)
def test_no_name_injects_a_line_or_a_word(tmp_path: Path, workflow: str, queue: str, account: str, folder: str) -> None:
    """Each name is refused, or comes out of the script that is really run as it went in."""
    template = tmp_path / "echo.sh.j2"
    template.write_text(ECHO)
    site = Site("own", "local", open_queues=True, template=str(template))
    python = tmp_path / "python"
    python.touch(mode=0o755)
    names = {"workflow": workflow, "queue": queue, "account": account, "job_name": workflow}
    for label, name in {**names, "directory": folder}.items():
        changes: dict[str, Any] = {label: Path("/x", folder.lstrip("/")) if label == "directory" else name}
        try:
            request = request_for(site, python=str(python), cwd=tmp_path, **changes)
        except UsageError:
            continue
        done = subprocess.run(["bash"], input=render_job_script(request), capture_output=True, text=True, check=False)
        assert done.stderr == ""
        texts = (request.workflow, request.directory, request.cwd, request.python, request.queue, request.account)
        assert done.stdout.split("\0")[:-1] == [*map(str, texts), request.scheduler_job_name]


@given(name=NASTY)
def test_scheduler_options_hold_one_word(name: str) -> None:
    """What stands in a #SBATCH or #PBS line is read by another parser than a shell's."""
    site = Site("own", "slurm", open_queues=True)
    for label in ("workflow", "queue", "account", "job_name"):
        try:
            text = render_job_script(request_for(site, **{label: name}))
        except UsageError:
            continue
        options = [line for line in text.splitlines() if line.startswith("#SBATCH")]
        assert len(options) == 13
        for option in options:
            assert len(shlex.split(option[1:])) == 2
