"""The stand-ins for PBS's clients answer as the recorded ones did: the recorded calls are made again, and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / "cluster"))

from pbs.schedule import place  # noqa: E402
from pbs.state import Chunk, Job, Server, Settings  # noqa: E402
from pbs_cluster import install, running, wait_for  # noqa: E402

_LINES = (HERE / "recorded" / "pbs.jsonl").read_text(encoding="utf-8").splitlines()
RECORDED: Mapping[str, Mapping[str, Any]] = {call["name"]: call for call in map(json.loads, _LINES)}

#: A recorded call -> the jobs that the server had then, as far as they matter.
REFUSED: Mapping[str, Mapping[int, str]] = {
    **{
        name: {}
        for name in (
            "qsub_unknown_queue qsub_bad_resource qsub_bad_resource_in_select qsub_bad_value qsub_bad_ncpus ngpus "
            "qsub_bad_bind_place qsub_mixed_select_and_ncpus qsub_walltime_over_max qsub_nodect_over_max qsub_bad_w "
            "qsub_bad_name qsub_long_name qsub_bad_option qsub_bad_directive qsub_missing_script qsub_project_ok "
            "qsub_depend_finished v_empty v_dquote_inside qstat_unknown qstat_unknown_json qstat_unknown_x "
            "qstat_bad_id qstat_array_bad qdel_unknown qdel_bad_id qsig_queued rel_err_unknown_job rel_err_noargs"
        ).split()
    },
    "qstat_finished_without_x": {0: "F"},
    "qstat_f_18_exiting": {18: "F"},
    "qdel_finished": {0: "F"},
    "qdel_finished_x": {0: "F"},
    "qdel_held": {8: "H", 9: "H", 10: "H", 11: "H", 13: "Q"},
    "qdel_suppress": {46: "R", 47: "F"},
    "qdel_twice": {47: "F"},
    "qdel_force": {46: "R"},
    "qdel_sigjob": {90: "F"},
    "nf_qdel": {74: "F", 75: "R"},
    "qsig_bad": {90: "R"},
    "qsig_suspend": {90: "F"},
    "qsig_null": {37: "R"},
    "qsig_usr1": {90: "R"},
    "rel_err_a_and_k": {54: "R"},
    "rel_err_finished_job": {22: "F"},
    "rel_err_queued_job": {55: "Q"},
    "rel_err_ms": {54: "R"},
    "rel_err_ms_and_other": {54: "R"},
    "rel_err_unknown_node": {54: "R"},
    "rel_two": {54: "R"},
}

#: The same where the command names a user, a time or a queue in words of the recording machine.
INSTEAD = {
    "rel_err_other_user": "LOGNAME=nobody pbs_release_nodes -j 54.pbshead pn4",
    "qdel_other_user": "LOGNAME=nobody qdel 37.pbshead",
    "rel_ok_pn4": "pbs_release_nodes -j 54.pbshead pn4",
}
CLOSED = {"queue_acl": ("closed", True), "queue_disabled": ("enabled", False), "queue_max_queued": ("at_most", 0)}

#: What is submitted -> what qstat shows of it, when the server has looked at it.
SHOWN = {
    "qsub_unknown_project_account": "qstat_json_held",
    "qsub_too_big": "qstat_json_can_never_run",
    "qsub_queued": "qstat_json_queued",
    "qsub_depend_afterany": "qstat_json_depend",
    "qsub_depend_unknown": "qstat_json_dep_23",
    "numname": "json_numeric",
    "min_wt": "qstat_min_wt",
}

#: What is run -> what qstat shows of it in the end.
ENDS = {
    "block_true": "block_true_json",
    "exit_137": "exit_137_json",
    "exit_kill9": "exit_kill9_json",
    "exit_badshell": "exit_badshell_json",
    "exit_noexec": "exit_noexec_json",
}

_TIME = re.compile(r"\w{3} \w{3} +\d+ (at )?\d\d:\d\d(:\d\d \d{4})?")
_NUMBERS = re.compile(r'("(?:timestamp|history_timestamp)":\t)\d+')
#: Known a moment after a job has begun: of very short ones it was not recorded.
_SESSION = re.compile(r'\t+"session_id":\t\d+,\n')
_USED = re.compile(r'"resources_used":\t\{[^}]*\}')


class Terminal:
    """A shell in which the clients of a server are called, as alice."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        for name in ("sleep.sh", "env.sh", "hello.sh"):
            (folder / name).write_text("#!/bin/sh\nsleep 1\n")

    def call(self, command: str, **environment: str) -> tuple[str, str, int]:
        """What is printed, and the exit code, with what differs between machines as it was on the recorded one."""
        names = {"HOME": "/home/alice", "LOGNAME": "alice", "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        path = f"{self.server.folder / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**names, "PATH": path, **environment},
            timeout=30,
            check=False,
        )
        return self._plain(done.stdout), self._plain(done.stderr), done.returncode

    def replay(self, name: str) -> None:
        """Makes a recorded call again, and compares."""
        call = RECORDED[name]
        expected = (self._plain(call["stdout"]), self._plain(call["stderr"]), call["exit_code"])
        assert self.call(INSTEAD.get(name, call["command"])) == expected

    def submit(self, name: str) -> Job:
        """The same for a qsub; gives the job."""
        number = int(RECORDED[name]["stdout"].partition(".")[0])
        with self.server.changing() as state:
            state.next = number
        self.replay(name)
        return self.server.read().jobs[number]

    def job(self, number: int) -> dict[str, Any]:
        """What qstat shows of a job."""
        text = self.call(f"qstat -x -f -F json {number}")[0]
        (job,) = json.loads(text)["Jobs"].values()
        return dict(job)

    def _plain(self, text: str) -> str:
        text = text.replace(str(self.server.folder / "bin"), "/opt/pbs/bin").replace(str(self.folder), "/home/alice")
        text = _NUMBERS.sub(r"\g<1>0", _SESSION.sub("", _USED.sub('"resources_used": {}', _TIME.sub("TIME", text))))
        return re.sub(r"pn\d(/\d)?", "pn", text)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A server without a machine behind it: jobs are taken in, and stay."""
    (tmp_path / "home").mkdir()
    return Terminal(install(tmp_path / "pbs", Settings()), tmp_path / "home")


def seed(server: Server, jobs: Mapping[int, str]) -> None:
    with server.changing() as state:
        for number, letter in jobs.items():
            job = Job(number, "seed", "alice", "batch", "/", "4:ncpus=2", "scatter:excl", 600, "", state=letter)
            job.chunks = [(4, {"ncpus": "2"})]
            if letter == "R":
                job.places = [Chunk(f"pn{n}", 2) for n in range(1, 5)]
                job.started = 1.0
            state.jobs[number] = job


@pytest.mark.parametrize("name", REFUSED)
def test_a_recorded_call_gets_the_recorded_answer(terminal: Terminal, name: str) -> None:
    if "bad.sh" in RECORDED[name]["command"]:
        (terminal.folder / "bad.sh").touch()
    seed(terminal.server, REFUSED[name])
    terminal.replay(name)


def test_others_may_not_touch_a_job(terminal: Terminal) -> None:
    seed(terminal.server, {37: "R", 54: "R"})
    terminal.replay("rel_err_other_user")
    terminal.replay("qdel_other_user")


@pytest.mark.parametrize("name", CLOSED)
def test_a_queue_that_is_closed(terminal: Terminal, name: str) -> None:
    with terminal.server.changing() as state:
        queue = state.settings.queues["debug"]
        setattr(queue, *CLOSED[name])
    said = RECORDED[name]["stderr"]
    code = RECORDED[name]["exit_code"]
    assert terminal.call("qsub -q debug -l walltime=60 -- /bin/true") == ("", said, code)


@pytest.mark.parametrize(
    "name", ["down_qsub", "down_qdel", "down_qstat", "down_qstat_json", "down_rel", "down_pbsnodes"]
)
def test_a_server_that_is_down(terminal: Terminal, name: str) -> None:
    with terminal.server.changing() as state:
        state.settings.down = True
    terminal.replay(name)


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_taken_in_is_shown_as_recorded(terminal: Terminal, name: str) -> None:
    seed(terminal.server, {19: "R", 20: "Q"})
    assert terminal.submit(name)
    with terminal.server.changing() as state:
        place(state)
    terminal.replay(SHOWN[name])


@pytest.mark.parametrize(("name", "shown"), [("v_backslash", {"A": "a\\\\\\\\b", "B": "c:\\\\\\\\\\\\\\\\d"})])
def test_variables_are_shown_with_more_backslashes(terminal: Terminal, name: str, shown: dict[str, str]) -> None:
    number = terminal.submit(name).number
    recorded = json.loads(RECORDED["json_special_v"]["stdout"])["Jobs"]["30.pbshead"]["Variable_List"]
    assert {key: recorded[key] for key in shown} == shown
    assert {key: terminal.job(number)["Variable_List"][key] for key in shown} == shown


def test_a_released_node_is_free_and_the_rest_stays(terminal: Terminal) -> None:
    seed(terminal.server, {54: "R"})
    with terminal.server.changing() as state:
        terminal.server.write_node_file(state.jobs[54])
    assert terminal.call(INSTEAD["rel_ok_pn4"]) == ("", "", 0)
    state = terminal.server.read()
    assert (state.free("pn3"), state.free("pn4")) == (0, 2)
    terminal.replay("rel_again")
    jobs = json.loads(RECORDED["rel_after"]["stdout"])["Jobs"]["54.pbshead"]
    job = terminal.job(54)
    assert job["Resource_List"]["select"] == jobs["Resource_List"]["select"]
    assert (job["Resource_List"]["ncpus"], job["Resource_List"]["nodect"]) == (6, 3)
    terminal.replay("rel_two")
    assert terminal.server.node_file(state.jobs[54]).read_text() == RECORDED["rel_two_nodefile"]["stdout"]
    terminal.replay("rel_last_a")


def test_the_server_shows_itself(terminal: Terminal) -> None:
    seed(terminal.server, dict(enumerate("QHHHHHRRF")))
    recorded = json.loads(RECORDED["qstat_B_json"]["stdout"])["Server"]["pbshead"]
    assert recorded.pop("resources_assigned")
    assert list(json.loads(terminal.call("qstat -B -f -F json")[0])["Server"]["pbshead"].items()) == [*recorded.items()]


def test_the_table_of_jobs(terminal: Terminal) -> None:
    seed(terminal.server, {0: "R"})
    with terminal.server.changing() as state:
        state.jobs[0].name = "hello"
    recorded = RECORDED["qstat_plain"]["stdout"].splitlines()[:3]
    assert terminal.call("qstat")[0].splitlines() == recorded


def test_a_node_that_is_down(terminal: Terminal) -> None:
    seed(terminal.server, {74: "R", 75: "R"})
    with terminal.server.changing() as state:
        state.nodes["pn2"].down = True
        for job in state.jobs.values():
            job.place, job.places = "scatter", [Chunk("pn1", 1), Chunk("pn2", 1)]
    recorded, _, line = RECORDED["pbsnodes_down_json"]["stdout"].partition("\n}\n")
    expected = json.loads(recorded + "}")["nodes"]["pn2"]
    del expected["last_state_change_time"], expected["last_used_time"]
    with_others = json.loads(terminal.call("pbsnodes -v -F json pn2")[0].replace('"pn"', '"pn2"'))["nodes"]
    assert with_others == {"pn2": expected}
    assert terminal.call("pbsnodes -l")[0] == line.replace("pn2", "pn")


def test_what_was_not_recorded_is_an_error_of_its_own(terminal: Terminal) -> None:
    assert terminal.call("qdel -Z 1")[2] == terminal.call("pbsnodes -a")[2] == 99


# ---- with a machine


@pytest.fixture(scope="module")
def busy_terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with running() as cluster:
        yield Terminal(cluster.server, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("name", ENDS)
def test_jobs_really_run_and_end_as_recorded(busy_terminal: Terminal, name: str) -> None:
    assert busy_terminal.submit(name).state == "F"
    busy_terminal.replay(ENDS[name])


def test_nothing_is_left_of_a_machine(tmp_path: Path) -> None:
    with running() as cluster:
        Terminal(cluster.server, tmp_path).call("qsub -- /bin/sh -c 'setsid sleep 987654 & sleep 987654'")
        wait_for(lambda: len(named("sleep", "987654")) == 2)
        folder = cluster.server.folder
    assert not folder.exists()
    assert not named("sleep", "987654")


def test_a_machine_dies_with_the_tests(tmp_path: Path) -> None:
    own = f"import sys, time; sys.path.insert(0, {str(HERE / 'cluster')!r}); from pbs_cluster import running\n"
    text = own + "with running() as cluster:\n    print(cluster.server.folder, flush=True)\n    time.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        folder = tests.stdout.readline().strip()
        assert named("setpriv", folder) or named("unshare", folder)
        tests.kill()
    wait_for(lambda: not named("", folder))
    shutil.rmtree(folder)


def named(program: str, word: str) -> list[str]:
    """The processes of a program with a word somewhere in their command lines."""
    lines = {pid: _command_line(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    return [pid for pid, line in lines.items() if line.startswith(program.encode()) and word.encode() in line]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
