"""PBS's words and outputs, as a real OpenPBS 23.06 gave them."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pbs_recorded import RECORDED

from hpcsearch import schedulers
from hpcsearch.errors import SchedulerError, UsageError
from hpcsearch.schedulers import AllocationRequest, AllocationState, EndCause, pbs, pbs_release
from hpcsearch.schedulers.command import Completed
from hpcsearch.schedulers.pbs_words import STATES, status_of
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site
from hpcsearch.sites.render import render_job_script

SITE = Site("hill", "pbs", open_queues=True, release="pbs")

Answers = Callable[..., list[list[str]]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has commands answer one after the other as told, the last answer again and again; gives what was run."""

    def use(*told: Completed) -> list[list[str]]:
        ran: list[list[str]] = []

        def run(argv: Sequence[str], *_: Any, **__: Any) -> Completed:
            ran.append(list(argv))
            return told[min(len(ran), len(told)) - 1]

        monkeypatch.setattr(pbs, "run", run)
        monkeypatch.setattr(pbs_release, "run", run)
        monkeypatch.setattr("hpcsearch.schedulers.pbs.time.sleep", lambda seconds: None)
        return ran

    return use


def ended(status: int, stderr: str = "") -> Completed:
    return Completed(("command",), status, "", stderr)


# ---- status


@pytest.mark.parametrize(
    ("name", "identifier", "state", "cause", "words"),
    [
        ("qstat_json_queued", "18.pbshead", "QUEUED", "", "It waits (Not enough free nodes available)."),
        ("qstat_json_held", "8.pbshead", "QUEUED", "", "It is held by its user: qrls lets it go."),
        ("qstat_json_depend", "21.pbshead", "QUEUED", "", "It waits for an earlier allocation to end."),
        ("qstat_json_running", "0.pbshead", "RUNNING", "", "It runs."),
        ("qstat_json_array_parent", "16[].pbshead", "RUNNING", "", "It is an array, and has begun."),
        ("qstat_json_finished_x", "0.pbshead", "ENDED", "failed", "Its script ended with exit status 3."),
        ("qstat_json_array_finished", "16[0].pbshead", "ENDED", "done", "It ended by itself."),
        ("qstat_json_array_finished", "16[3].pbshead", "ENDED", "cancelled", "It was cancelled by alice@pbshead."),
        ("qstat_json_after_force", "46.pbshead", "ENDED", "cancelled", "It was cancelled by alice@pbshead."),
        ("qstat_json_dep_22", "22.pbshead", "ENDED", "failed", "It never started: what it was to follow"),
        ("qstat_json_dep_23", "23.pbshead", "ENDED", "failed", "It never started: what it was to follow"),
        ("qstat_json_dep_25", "25.pbshead", "ENDED", "done", "It ended by itself."),
        ("exit_137_json", "67.pbshead", "ENDED", "failed", "Its script ended with exit status 137."),
        ("exit_kill9_json", "66.pbshead", "ENDED", "failed", "It was ended by SIGKILL."),
        ("exit_badshell_json", "68.pbshead", "ENDED", "failed", "PBS could not start its script"),
    ],
)
def test_a_recorded_job_becomes_a_state_and_a_sentence(
    answers: Answers, name: str, identifier: str, state: str, cause: str, words: str
) -> None:
    answers(RECORDED[name])
    status = pbs.query([identifier])[identifier]
    assert (status.state, status.cause) == (state, cause)
    assert status.reason.startswith(words)
    assert status.can_run


@pytest.mark.parametrize(
    ("status", "cause", "words"),
    [
        (-29, EndCause.WALLTIME, "Its walltime was over."),
        (-27, EndCause.OUT_OF_MEMORY, "It used more memory"),
        (-14, EndCause.NODE_FAILURE, "A node of it failed."),
        (-3, EndCause.FAILED, "PBS could not run it (exit status -3)."),
        (271, EndCause.CANCELLED, "It was told to end (SIGTERM)."),
        (256 + 99, EndCause.FAILED, "It was ended by signal 99."),
    ],
)
def test_exit_statuses_that_are_not_the_script_s(status: int, cause: EndCause, words: str) -> None:
    told = status_of({"job_state": "F", "substate": 93, "Exit_status": status})
    assert told.cause is cause
    assert told.reason.startswith(words)


def test_a_walltime_that_ended_is_no_cancelling() -> None:
    job = {"job_state": "F", "substate": 91, "Exit_status": -29, "comment": "Job run and exceeded resource walltime"}
    assert status_of(job).cause is EndCause.WALLTIME


def test_what_can_never_run_is_said() -> None:
    jobs = pbs.parse_qstat(RECORDED["qstat_json_can_never_run"].stdout)
    status = status_of(jobs["13.pbshead"])
    assert (status.state, status.can_run) == (AllocationState.QUEUED, False)
    assert status.reason == "It asks for what there is not (Not enough total nodes available): it will never start."


def test_a_running_job_s_time() -> None:
    assert status_of(pbs.parse_qstat(RECORDED["rel_after"].stdout)["54.pbshead"]).time_left_s == 289
    for odd in ({}, {"Resource_List": {"walltime": True}}, {"Resource_List": 7}):
        assert status_of({"job_state": "R", **odd}).time_left_s is None


@pytest.mark.parametrize("letter", "QHREFBWSTMXU")
def test_every_state_has_a_sentence(letter: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        status = status_of({"job_state": letter})
    assert status.state is STATES[letter][0]
    assert status.reason.endswith(".")
    assert status.word == letter
    assert caplog.text == ""


def test_a_state_that_nobody_knows_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert status_of({"job_state": "Z"}).state is AllocationState.UNKNOWN
    assert caplog.text.count("'Z'") == 1


def test_one_query_for_all_and_what_is_not_known_has_ended(answers: Answers) -> None:
    ran = answers(RECORDED["qstat_unknown_and_known_json"])
    found = pbs.query(["9999.pbshead", "0.pbshead"])
    assert ran == [["qstat", "-x", "-f", "-F", "json", "9999.pbshead", "0.pbshead"]]
    assert found["0.pbshead"].cause is EndCause.FAILED
    assert found["9999.pbshead"].state is AllocationState.ENDED
    assert "does not list it" in found["9999.pbshead"].reason
    answers(RECORDED["qstat_unknown_x"])
    assert pbs.query(["9999.pbshead"])["9999.pbshead"].state is AllocationState.ENDED


def test_a_server_that_forgets_what_has_ended_still_tells_of_the_rest(answers: Answers) -> None:
    """qstat -x then lists nothing at all, and says so with exit status 0."""
    forgets = Completed(
        ("qstat",),
        0,
        RECORDED["qstat_unknown_x"].stdout,
        "qstat: PBS is not configured to maintain job history 0.pbshead\n",
    )
    ran = answers(forgets, RECORDED["qstat_json_running"])
    assert pbs.query(["0.pbshead"])["0.pbshead"].state is AllocationState.RUNNING
    assert ran[-1] == ["qstat", "-f", "-F", "json", "0.pbshead"]
    answers(forgets, RECORDED["qstat_unknown_json"])
    assert pbs.query(["9999.pbshead"])["9999.pbshead"].state is AllocationState.ENDED


def test_a_server_with_another_name_is_the_same(answers: Answers) -> None:
    answers(RECORDED["qstat_json_running"])
    assert pbs.query(["0.head.hill.example"])["0.head.hill.example"].state is AllocationState.RUNNING


def test_a_server_that_is_down_is_an_error(answers: Answers) -> None:
    answers(RECORDED["down_qstat_json"])
    with pytest.raises(SchedulerError, match="cannot connect to server pbshead"):
        pbs.query(["85.pbshead"])


@pytest.mark.parametrize("name", [name for name, call in RECORDED.items() if '"Jobs"' in call.stdout])
def test_every_recorded_answer_is_read(name: str) -> None:
    for key, job in pbs.parse_qstat(RECORDED[name].stdout).items():
        status = status_of(job)
        assert status.state is not AllocationState.UNKNOWN
        assert key.endswith(".pbshead")


@pytest.mark.parametrize("broken", ['"N":\t007,', '"A":\t"a\\,b",', '"A":\t"say "hi"",', '"A":\ttrue false,'])
def test_variables_that_are_no_json_do_not_hide_a_job(broken: str) -> None:
    """Earlier versions write some values as they are."""
    text = RECORDED["json_numeric"].stdout.replace('"N":\t7,', broken)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert status_of(pbs.parse_qstat(text)["64.pbshead"]).state is AllocationState.QUEUED


JSON = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))


@given(st.text() | st.dictionaries(st.just("Jobs"), JSON | st.dictionaries(st.text(max_size=5), JSON)).map(json.dumps))
def test_an_answer_is_jobs_or_an_error(text: str) -> None:
    try:
        assert isinstance(pbs.parse_qstat(text), dict)
    except SchedulerError as error:
        assert "no JSON" in error.message


def test_a_first_look_comes_after_the_scheduler_s(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = answers(RECORDED["qstat_json_can_never_run"])
    slept: list[float] = []
    monkeypatch.setattr("hpcsearch.schedulers.pbs.time.sleep", slept.append)
    assert not schedulers.first_look(SITE, "13.pbshead").can_run
    assert (len(ran), len(slept)) == (1, 1)
    assert schedulers.status(SITE, ["13.pbshead"])["13.pbshead"].can_run is False
    assert len(ran) == 1, "one query per interval"


# ---- submission


@pytest.mark.parametrize(("name", "identifier"), [("qsub_ok", "0.pbshead"), ("qsub_array", "16[].pbshead")])
def test_an_id_stays_as_qsub_gave_it(name: str, identifier: str) -> None:
    assert pbs.parse_submission(RECORDED[name]) == identifier


def test_what_a_hook_prints_is_not_the_id() -> None:
    done = Completed(("qsub",), 0, "Welcome to Hill\n7.head.hsn.cm.hill.example\n", "hook: be kind\n")
    assert pbs.parse_submission(done) == "7.head.hsn.cm.hill.example"
    with pytest.raises(SchedulerError, match="no id"):
        pbs.parse_submission(Completed(("qsub",), 0, "Welcome\n", ""))


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("qsub_unknown_queue", "there is no such queue (Unknown queue)", "qstat -Q"),
        ("qsub_bad_resource", "no such resource (Unknown resource Resource_List.nosuchres)", "directives"),
        ("ngpus", "no such resource (Unknown resource: ngpus)", "chunk"),
        ("qsub_bad_value", "Illegal attribute or resource value Resource_List.walltime", "-t"),
        ("qsub_nodect_over_max", "more than the queue or the server allows", "-n"),
        ("qsub_walltime_over_max", "more than the queue or the server allows", "-q"),
        ("queue_disabled", "takes no jobs at present (Queue is not enabled)", "-q"),
        ("queue_acl", "may not submit to the queue", "-A"),
        ("queue_max_queued", "would exceed queue generic's per-user limit", "Wait"),
        ("down_qsub", "PBS's server does not answer", "later"),
        ("qsub_wrong_server", "cannot connect to server nosuchhost", "PBS_SERVER"),
        ("qsub_mixed_select_and_ncpus", "mixes -l select", "directives"),
        ("qsub_bad_directive", "directive error: -Z foo", "directives"),
        ("qsub_bad_option", "invalid option", "directives"),
        ("qsub_long_name", "Job name is too long", "name"),
        ("qsub_bad_w", "an option of -W is unknown", "directives"),
        ("qsub_project_ok", "Bad GID", "directives"),
        ("array_too_big", "larger than the server allows", ""),
    ],
)
def test_a_refusal_by_qsub_is_said_with_what_to_do(name: str, words: str, hint: str) -> None:
    with pytest.raises(SchedulerError) as error:
        pbs.parse_submission(RECORDED[name])
    assert error.value.message.startswith("PBS refused the allocation: ")
    assert words in error.value.message
    assert "usage" not in error.value.message and "qsub:" not in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("number", "said", "words"),
    [
        (15023, "qsub: Bad UID for job execution", "PBS does not run jobs of this user (Bad UID for job execution)"),
        (15039, "qsub: Route rejected by all possible destinations", "none of the queues that this one leads to"),
    ],
)
def test_a_client_s_exit_status_is_the_last_byte_of_the_server_s_error(number: int, said: str, words: str) -> None:
    with pytest.raises(SchedulerError) as error:
        pbs.parse_submission(ended(number & 255, said))
    assert words in error.value.message
    assert error.value.hint


def test_an_unknown_refusal_is_shown_as_it_is() -> None:
    with pytest.raises(SchedulerError, match="PBS refused the allocation: name a filesystem"):
        pbs.parse_submission(Completed(("qsub",), 63, "", "qsub: name a filesystem\n"))


def request_for(**changes: Any) -> AllocationRequest:
    directory = Path("/scratch/poly")
    values: dict[str, Any] = {
        "workflow": "poly",
        "directory": directory,
        "number": 1,
        "folder": directory / "allocations/1",
        "site": SITE,
        "queue": "batch",
        "account": "lab",
        "nodes": 4,
        "walltime_s": 1800,
        "job_mode": "serial",
        "python": "/python",
        "cwd": Path("/"),
        "job_name": "poly",
    }
    return AllocationRequest(**{**values, **changes})


def executor(folder: Path) -> Any:
    return schedulers.executor(SITE, folder)


def submitting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *told: Completed) -> list[list[str]]:
    from hpcsearch.schedulers import pbs_executor

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ran: list[list[str]] = []

    def run(argv: Sequence[str], **options: Any) -> Completed:
        ran.append(list(argv))
        if argv[0] == "qsub":
            assert options["cwd"] == tmp_path / "folder"
            assert "PBS_DPREFIX" not in options["environment"]
        return told[len(ran) - 1]

    monkeypatch.setenv("PBS_DPREFIX", "#X")
    monkeypatch.setattr(pbs, "run", run)
    monkeypatch.setattr(pbs_executor, "run", run)
    return ran


def test_a_script_is_submitted_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = submitting(monkeypatch, tmp_path, RECORDED["qsub_ok"], RECORDED["qstat_json_running"])
    request = request_for(folder=tmp_path / "folder")
    job = executor(tmp_path / "folder").submit_script("#!/bin/bash\n", request)
    assert job.job_id == "0.pbshead"
    assert ran == [["qsub", str(request.script)]]
    assert request.script.read_text() == "#!/bin/bash\n"
    assert job.state == "R"
    assert schedulers.submission_argv(request) == ("qsub", str(request.script))


def test_a_refused_script_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    submitting(monkeypatch, tmp_path, RECORDED["qsub_unknown_queue"])
    with pytest.raises(SchedulerError, match="no such queue"):
        executor(tmp_path / "folder").submit_script("#!/bin/bash\n", request_for(folder=tmp_path / "folder"))
    assert list((tmp_path / "folder").iterdir()) == []


def test_an_allocation_waits_only_for_one_that_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PBS takes any id, and ends a job that waits for an unknown one without a word."""
    request = request_for(folder=tmp_path / "folder", after="9999.pbshead")
    ran = submitting(monkeypatch, tmp_path, RECORDED["qstat_unknown_x"])
    with pytest.raises(SchedulerError, match=r"knows no job 9999\.pbshead"):
        executor(tmp_path / "folder").submit_script("", request)
    assert [argv[0] for argv in ran] == ["qstat"]
    request = request_for(folder=tmp_path / "folder", after="0.pbshead")
    ran = submitting(monkeypatch, tmp_path, RECORDED["qstat_json_running"], RECORDED["qsub_ok"])
    executor(tmp_path / "folder").submit_script("", request)
    assert [argv[0] for argv in ran] == ["qstat", "qsub"]


def test_variables_that_change_how_a_script_is_read_are_dropped() -> None:
    assert schedulers.dropped_variables(SITE, {"PBS_DPREFIX": "x", "PBS_SERVER": "y"}) == ("PBS_DPREFIX",)
    assert pbs.submission_environment({"PBS_DPREFIX": "x", "PBS_SERVER": "y"}) == {"PBS_SERVER": "y"}


# ---- cancelling


@pytest.mark.parametrize("name", ["qdel_running", "qdel_finished", "qdel_unknown", "qdel_twice"])
def test_cancelling_succeeds_also_for_what_has_ended(answers: Answers, name: str) -> None:
    ran = answers(RECORDED[name])
    pbs.cancel("0.pbshead")
    assert ran == [["qdel", "0.pbshead"]]


def test_a_job_that_just_begins_is_deleted_again(answers: Answers) -> None:
    ran = answers(
        ended(168, "qdel: Request invalid for state of job 7.pbshead"), RECORDED["qstat_json_queued"], ended(0)
    )
    pbs.cancel("18.pbshead")
    assert [argv[0] for argv in ran] == ["qdel", "qstat", "qdel"]


def test_a_job_that_is_ending_needs_no_deleting(answers: Answers) -> None:
    text = RECORDED["qstat_json_running"].stdout.replace('"job_state":\t"R"', '"job_state":\t"E"')
    refused = ended(168, "qdel: Request invalid for state of job 0.pbshead")
    ran = answers(refused, Completed(("qstat",), 0, text, ""))
    pbs.cancel("0.pbshead")
    assert [argv[0] for argv in ran] == ["qdel", "qstat"]


@pytest.mark.parametrize(
    ("name", "words"), [("qdel_other_user", "Unauthorized Request"), ("down_qdel", "Couldn't connect")]
)
def test_a_job_that_cannot_be_cancelled(answers: Answers, name: str, words: str) -> None:
    answers(RECORDED[name])
    with pytest.raises(SchedulerError, match=words):
        pbs.cancel("37.pbshead")


# ---- giving nodes back


def test_nodes_are_given_back_by_name(answers: Answers, tmp_path: Path) -> None:
    ran = answers(RECORDED["rel_two"])
    outcome = schedulers.release(SITE, "54.pbshead", ["pn1"], ["pn2", "pn3"], tmp_path)
    assert outcome.released
    assert dict(outcome.environment) == {}
    assert ran == [["pbs_release_nodes", "-j", "54.pbshead", "pn2", "pn3"]]


def test_nodes_are_given_back_by_the_names_that_pbs_has_for_them(answers: Answers, tmp_path: Path) -> None:
    """The node file may have a host's full name, and a host may have several of PBS's nodes."""
    told = RECORDED["qstat_json_running"].stdout
    several = told.replace("(pn2:ncpus=1)", "(pn2[0]:ncpus=1+pn2[1]:ncpus=1)")
    for text, vnodes in ((told, ["pn2"]), (several, ["pn2[0]", "pn2[1]"])):
        ran = answers(RECORDED["rel_err_unknown_node"], Completed(("qstat",), 0, text, ""), RECORDED["rel_two"])
        keep, leave = ["pn1.hill.example"], ["pn2.hill.example"]
        assert schedulers.release(SITE, "0.pbshead", keep, leave, tmp_path).released
        assert ran == [
            ["pbs_release_nodes", "-j", "0.pbshead", *leave],
            ["qstat", "-f", "-F", "json", "0.pbshead"],
            ["pbs_release_nodes", "-j", "0.pbshead", *vnodes],
        ]


@pytest.mark.parametrize(
    ("name", "again", "words"),
    [
        ("rel_err_ms", False, "its first node always stays"),
        ("rel_again", False, "it must have had the rest"),
        ("rel_err_unknown_node", False, "it must have had the rest"),
        ("rel_err_finished_job", False, "the job has ended"),
        ("rel_err_unknown_job", False, "knows no such job"),
        ("rel_err_other_user", False, "does not permit this user"),
        ("rel_err_queued_job", True, "only just begun"),
        ("down_rel", True, "does not answer"),
    ],
)
def test_a_refused_release_is_an_outcome(answers: Answers, tmp_path: Path, name: str, again: bool, words: str) -> None:
    answers(RECORDED[name])
    outcome = schedulers.release(SITE, "54.pbshead", ["pn1"], ["pn4"], tmp_path)
    assert (outcome.released, outcome.again) == (False, again)
    assert words in outcome.sentence


def test_a_release_without_pbs_is_an_outcome_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = schedulers.release(SITE, "7.pbshead", ["pn1"], ["pn2"], tmp_path)
    assert (outcome.released, outcome.again) == (False, True)
    assert not schedulers.release(SITE, "7.pbshead", [], ["pn2"], tmp_path).released


# ---- the job script


def options_of(text: str) -> list[list[str]]:
    """The options as qsub reads them: up to the first command, with a shell's quotes."""
    return [shlex.split(line.removeprefix("#PBS")) for line in text.splitlines() if line.startswith("#PBS ")]


def test_a_script_asks_for_what_was_asked_for() -> None:
    site = find_site("polaris")
    text = render_job_script(request_for(site=site, queue="prod", nodes=10, after="7.pbs-01.example"))
    assert options_of(text) == [
        ["-N", "poly"],
        ["-q", "prod"],
        ["-A", "lab"],
        ["-l", "select=10:system=polaris"],
        ["-l", "walltime=0:30:00"],
        ["-W", "depend=afterany:7.pbs-01.example"],
        ["-S", "/bin/bash"],
        ["-r", "n"],
        ["-k", "doe"],
        ["-o", "/scratch/poly/allocations/1/stdout"],
        ["-e", "/scratch/poly/allocations/1/stderr"],
        ["-l", "place=scatter"],
        ["-l", "filesystems=home:eagle"],
    ]


def test_a_project_instead_of_an_account() -> None:
    site = Site("gadi", "pbs", open_queues=True, account_option="-P")
    assert ["-P", "lab"] in options_of(render_job_script(request_for(site=site)))


def test_a_folder_that_pbs_cannot_write_to_is_refused() -> None:
    with pytest.raises(UsageError, match="letters that PBS does not take") as error:
        request_for(folder=Path("/home/zoë/poly"))
    assert "--root" in error.value.hint
    request_for(cwd=Path("/home/zoë"))


NASTY = st.text(st.sampled_from("ab \t\n\"'`$(){}\\;&|<>*?!#%~=-:,\u2028é") | st.characters(), min_size=1, max_size=20)


@given(name=NASTY)
def test_no_name_becomes_another_option(name: str) -> None:
    plain = options_of(render_job_script(request_for()))
    for label in ("workflow", "queue", "account", "job_name", "folder"):
        value = Path("/x", name.lstrip("/")) if label == "folder" else name
        try:
            text = render_job_script(request_for(**{label: value}))
        except UsageError:
            continue
        options = options_of(text)
        assert [words[0] for words in options] == [words[0] for words in plain]
        assert all(len(words) == 2 for words in options)
        if label == "folder":
            assert ["-o", str(value / "stdout")] in options
