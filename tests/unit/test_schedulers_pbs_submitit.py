"""The submitit plug-in for PBS, over clients that run a job at once; and the scripts that it writes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import submitit
from hypothesis import given
from hypothesis import strategies as st
from pbs_recorded import RECORDED
from submitit.core import plugins
from submitit.core.utils import FailedSubmissionError, UncompletedJobError

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import pbs, pbs_script
from hpcsearch.schedulers.pbs_submitit import PBSExecutor, PBSInfoWatcher, PBSJob, PBSJobEnvironment

ROOT = Path(__file__).parents[2]

#: Counts its jobs, and runs each at once as PBS does: in the home folder, with little in its environment.
QSUB = """#!/bin/bash
cd {folder}
number=$(($(cat count 2>/dev/null || echo 6) + 1))
echo $number >count
cp "$1" $number.sh
echo {python_host} >nodes
origin=$OLDPWD
(env -i HOME={folder} PATH=/usr/bin:/bin PBS_JOBID=$number.head PBS_NODEFILE={folder}/nodes PBS_O_WORKDIR="$origin" \\
   PBS_O_PATH="$PATH" bash $number.sh; echo $? >$number.end; mv $number.end $number.ended) </dev/null >/dev/null 2>&1 &
echo $number.head
"""
QSTAT = """#!/bin/bash
cd {folder}
shift 4
echo '{{"Jobs": {{'
for id in "$@"; do
  number=${{id%.head}}
  if [ -e $number.ended ]; then
    echo "\\"$id\\": {{\\"job_state\\": \\"F\\", \\"substate\\": 92, \\"Exit_status\\": $(cat $number.ended)}},"
  else
    echo "\\"$id\\": {{\\"job_state\\": \\"R\\"}},"
  fi
done
echo '"0.head": {{"job_state": "Q"}}}}}}'
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with this project's entry points for submitit, as an installation of it has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = tmp_path / "installed"
    information = folder / "plugin-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["submitit"].items())
    (information / "entry_points.txt").write_text(f"[submitit]\n{points}")
    monkeypatch.syspath_prepend(folder)
    caches = (plugins._get_plugins, plugins.get_executors, plugins.get_job_environments)
    for cache in caches:
        cache.cache_clear()
    yield folder
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "server"
    folder.mkdir()
    for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("pbsnodes", "")):
        client = tmp_path / "bin" / name
        client.parent.mkdir(exist_ok=True)
        client.write_text(text.format(folder=folder, python_host=os.uname().nodename))
        client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PBSJob, "watcher", PBSInfoWatcher(delay_s=30))  # ids recur from test to test
    return folder


@pytest.fixture
def executor(plugin: Path, clients: Path, tmp_path: Path) -> submitit.AutoExecutor:
    made = submitit.AutoExecutor(tmp_path / "a folder", cluster="pbs")
    made.update_parameters(timeout_min=3, pbs_setup=[f"export PYTHONPATH={plugin}:{Path(__file__).parent}"])
    return made


def where() -> tuple[str, str, list[str]]:
    environment = submitit.JobEnvironment()
    return environment.job_id, os.getcwd(), list(environment.hostnames)  # noqa: PTH109


def test_a_function_runs_in_a_job_and_gives_its_result(executor: submitit.AutoExecutor, tmp_path: Path) -> None:
    job = executor.submit(where)
    assert isinstance(job, PBSJob)
    assert job.result() == ("7.head", str(tmp_path), [os.uname().nodename])
    assert job.job_id == "7.head"
    assert "Job completed successfully" in (job.stdout() or "")
    assert job.paths.submission_file.read_text().startswith("#!/bin/bash\n#PBS -N submitit\n")


def test_a_function_that_raises_says_so(executor: submitit.AutoExecutor) -> None:
    error = executor.submit(divmod, 1, 0).exception()
    assert "ZeroDivisionError" in str(error)


def test_a_map_is_as_many_jobs(executor: submitit.AutoExecutor) -> None:
    jobs = executor.map_array(divmod, [7, 8], [2, 2])
    assert [job.job_id for job in jobs] == ["7.head", "8.head"]
    assert [job.result() for job in jobs] == [(3, 1), (4, 0)]


def test_a_job_that_ends_without_a_result_is_done(
    executor: submitit.AutoExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PBSJob, "_results_timeout_s", 0)
    executor.update_parameters(pbs_setup=["exit 3"])
    job = executor.submit(where)
    with pytest.raises(UncompletedJobError, match="FAILED"):
        job.result()
    assert job.get_info()["Reason"] == "Its script ended with exit status 3."


def test_the_plug_in_is_found_where_there_is_pbs(plugin: Path, clients: Path) -> None:
    assert plugins.get_executors()["pbs"] is PBSExecutor
    assert isinstance(plugins.get_job_environments()["pbs"], PBSJobEnvironment)
    assert PBSExecutor.affinity() == 2


def test_a_qsub_of_another_scheduler_is_not_taken_for_pbs(
    clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "pbsnodes").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert PBSExecutor.affinity() == -1


def test_a_refused_job_is_a_failed_submission(
    executor: submitit.AutoExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "qsub").write_text("#!/bin/sh\necho 'qsub: Unknown queue' >&2\nexit 170\n")
    with pytest.raises(FailedSubmissionError, match="there is no such queue") as error:
        executor.submit(where)
    assert "qstat -Q" in str(error.value)
    assert not list((tmp_path / "a folder").glob(".submission*"))


def signals() -> tuple[bool, ...]:
    return tuple(signal.getsignal(number) is signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGUSR2))


def test_a_function_ends_when_its_job_is_told_to(executor: submitit.AutoExecutor) -> None:
    """What cannot be queued again has nothing to do for a signal but to end."""
    assert executor.submit(signals).result() == (True, True)


# ---- state


def test_one_query_tells_of_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def query(ids: list[str]) -> Any:
        asked.append(ids)
        jobs = pbs.parse_qstat(RECORDED["qstat_json_array_finished"].stdout)
        return {one: pbs.status_of(jobs[one]) for one in ids}

    monkeypatch.setattr(pbs, "query", query)
    watcher = PBSInfoWatcher()
    for number in (0, 1, 3):
        watcher.register_job(f"16[{number}].pbshead")
    states = [watcher.get_state(f"16[{number}].pbshead") for number in (0, 1, 3)]
    assert states == ["COMPLETED", "FAILED", "CANCELLED"]
    assert all(watcher.is_done(f"16[{number}].pbshead") for number in (0, 1, 3))
    watcher.update()
    assert len(asked) == 1, "what has ended is not asked for again"


def test_a_server_that_does_not_answer_leaves_the_state_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(ids: list[str]) -> Any:
        raise SchedulerError("qstat gave no answer")

    monkeypatch.setattr(pbs, "query", query)
    watcher = PBSInfoWatcher()
    assert watcher.get_state("7.head") == "UNKNOWN"
    assert not watcher.is_done("7.head")


def test_a_job_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(pbs, "cancel", cancelled.append)
    job: PBSJob[Any] = PBSJob(tmp_path, "7.head")
    job.cancel()
    assert cancelled == ["7.head"]


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 0, 1)),
        ({"PMI_RANK": "3", "MPI_LOCALRANKID": "1", "PMI_SIZE": "4"}, (3, 1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}, (2, 0, 4)),
        ({"PALS_RANKID": "5", "PALS_LOCAL_RANKID": "1", "PMI_RANK": "5", "PMI_SIZE": "8"}, (5, 1, 8)),
    ],
)
def test_a_launcher_tells_a_process_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], place: tuple[int, int, int]
) -> None:
    (tmp_path / "nodes").write_text(f"other.hill\nother.hill\n{os.uname().nodename}\n")
    for name, value in {**variables, "PBS_NODEFILE": str(tmp_path / "nodes"), "PBS_JOBID": "7.head"}.items():
        monkeypatch.setenv(name, value)
    environment = PBSJobEnvironment()
    assert (environment.global_rank, environment.local_rank, environment.num_tasks) == place
    assert (environment.node, environment.num_nodes, environment.job_id) == (1, 2, "7.head")


# ---- parameters and scripts


def options_of(text: str) -> list[list[str]]:
    return [shlex.split(line.removeprefix("#PBS")) for line in text.splitlines() if line.startswith("#PBS ")]


def test_parameters_become_options(tmp_path: Path) -> None:
    executor = PBSExecutor(tmp_path / "%j")
    executor.update_parameters(
        job_name="fit",
        time=90,
        nodes=2,
        ntasks_per_node=4,
        cpus_per_task=8,
        gpus_per_node=4,
        mem=1.5,
        queue="prod",
        account="lab",
        project="hill",
        chunk="system=polaris",
        resources={"filesystems": "home:eagle"},
        directives=["-W umask=022"],
        launcher="mpiexec -n 8 --ppn 4",
        stderr_to_stdout=True,
    )
    text = executor._make_submission_file_text("python run", "")
    assert options_of(text) == [
        ["-N", "fit"],
        ["-q", "prod"],
        ["-A", "lab"],
        ["-P", "hill"],
        ["-S", "/bin/bash"],
        ["-j", "oe"],
        ["-k", "doe"],
        ["-o", f"{tmp_path}/"],
        ["-l", "select=2:ncpus=32:mpiprocs=4:ngpus=4:mem=1536mb:system=polaris"],
        ["-l", "place=scatter"],
        ["-l", "walltime=1:30:00"],
        ["-l", "filesystems=home:eagle"],
        ["-W", "umask=022"],
    ]
    assert "\nmpiexec -n 8 --ppn 4 python run\n" in text
    assert f'exec >>{tmp_path}/"$PBS_JOBID"/"$PBS_JOBID"_0_log.out 2>&1\n' in text
    assert executor._num_tasks() == 8
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_a_plain_job_asks_for_one_cpu_and_five_minutes(tmp_path: Path) -> None:
    options = options_of(PBSExecutor(tmp_path)._make_submission_file_text("python run", ""))
    assert ["-l", "select=1:ncpus=1"] in options
    assert ["-l", "walltime=0:05:00"] in options
    assert all(not words[1].startswith("place") for words in options)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tiem": 3}, "no parameter 'tiem'"),
        ({"time": 0}, "time is the walltime: 0 is not minutes"),
        ({"time": "soon"}, "'soon' is not minutes as a whole number, or a text like '1:30:00'"),
        ({"nodes": 1.5}, "1.5 is not a whole number from 1"),
        ({"nodes": True}, "True is not a whole number from 1"),
        ({"queue": "a b"}, "'a b' is not a queue's name"),
        ({"job_name": "1\n#PBS -q x"}, "is not a letter, then letters"),
        ({"mem": "much"}, "'much' is not gigabytes"),
        ({"resources": {"a b": 1}}, "is not a dict of texts"),
        ({"resources": {"filesystems": "a\nb"}}, "is not a dict of texts"),
        ({"directives": ["-q x\n-r y"]}, "is not one line"),
        ({"setup": "module load"}, "is not a list of texts"),
        ({"nodes": 2}, "2 processes (nodes x tasks_per_node) need a launcher"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused(tmp_path: Path, parameters: dict[str, Any], words: str) -> None:
    executor = PBSExecutor(tmp_path)
    with pytest.raises(ValueError) as error:
        executor.update_parameters(**parameters)
    assert words in str(error.value)
    assert executor.parameters == {}


def test_parameters_for_pbs_are_named_by_submitit(plugin: Path, clients: Path, tmp_path: Path) -> None:
    executor = submitit.AutoExecutor(tmp_path, cluster="pbs")
    executor.update_parameters(name="fit", timeout_min=7, mem_gb=2, slurm_partition="gone", pbs_queue="prod")
    assert executor._executor.parameters == {"job_name": "fit", "time": 7, "mem": 2, "queue": "prod"}
    with pytest.raises(NameError, match="Unknown argument 'quue'"):
        executor.update_parameters(pbs_quue="prod")


NASTY = st.text(st.sampled_from("ab \t\n\"'`$(){}\\;&|<>*?!#%~=-:,\u2028é") | st.characters(), max_size=20)


@given(st.dictionaries(st.sampled_from(sorted(pbs_script.PARAMETERS)), NASTY))
def test_no_value_becomes_another_option(parameters: dict[str, str]) -> None:
    shell = {"launcher", "directives", "setup", "teardown"}
    parameters = {name: value for name, value in parameters.items() if name not in shell}
    try:
        pbs_script.check(parameters)
    except ValueError:
        return
    text = pbs_script.text("run", Path("/folder"), parameters)
    assert all(len(words) == 2 for words in options_of(text))
    assert [line for line in text.splitlines() if line.startswith("run")] == ["run"]


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20))
def test_a_folder_of_any_name_is_one_word(name: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"printf %s {pbs_script._shell_path(Path('/x', name, '%j_%t_log'))}"],
        env={"PBS_JOBID": "16[3].head", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    expected = str(Path("/x", name, "%j_%t_log")).replace("%t", "0").replace("%j", "16[3].head")
    assert done.stdout.decode() == expected


def test_python_may_be_another_one(tmp_path: Path) -> None:
    assert PBSExecutor(tmp_path)._submitit_command_str.startswith(shlex.quote(sys.executable))
    command = PBSExecutor(tmp_path, python="apptainer exec image python")._submitit_command_str
    assert command.startswith("apptainer exec image python -u -m submitit.core._submit ")
