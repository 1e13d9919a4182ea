"""Slurm's words and outputs, as a real Slurm 22.05 gave them, and the one query that all watchers share."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
from collections.abc import Collection
from pathlib import Path

import pytest

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import AllocationState, AllocationStatus, EndCause, query_cache, slurm
from hpcsearch.schedulers.command import Completed
from hpcsearch.schedulers.slurm_words import STATES, status_of
from hpcsearch.sites import Site

SITE = Site("hill", "slurm", poll_interval_s=30)
RUNNING = AllocationStatus(AllocationState.RUNNING, "It runs.", "RUNNING", time_left_s=100)
DONE = AllocationStatus(AllocationState.ENDED, "It ended by itself.", "COMPLETED", EndCause.DONE)

SQUEUE = """\
2003|PENDING|PartitionTimeLimit|31:00
2004|PENDING|PartitionNodeLimit|10:00
2012|PENDING|Dependency|1-00:00:00
2001|RUNNING|None|0:43
2038|COMPLETING|NodeDown|4:24
2009|FAILED|NonZeroExitCode|10:00
2029|TIMEOUT|TimeLimit|INVALID
2030|CANCELLED|None|UNLIMITED
2040|NODE_FAIL|NodeDown|4:00
"""


def sbatch(stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed(("sbatch", "job.sh"), status, stdout, stderr)


def test_squeue_s_lines_become_states_and_sentences() -> None:
    found = slurm.parse_squeue(SQUEUE)
    states = {key: (status.state, status.cause) for key, status in found.items()}
    assert states == {
        "2003": (AllocationState.QUEUED, EndCause.NONE),
        "2004": (AllocationState.QUEUED, EndCause.NONE),
        "2012": (AllocationState.QUEUED, EndCause.NONE),
        "2001": (AllocationState.RUNNING, EndCause.NONE),
        "2038": (AllocationState.RUNNING, EndCause.NONE),
        "2009": (AllocationState.ENDED, EndCause.FAILED),
        "2029": (AllocationState.ENDED, EndCause.WALLTIME),
        "2030": (AllocationState.ENDED, EndCause.CANCELLED),
        "2040": (AllocationState.ENDED, EndCause.NODE_FAILURE),
    }
    assert found["2001"].time_left_s == 43
    assert found["2003"].reason == "It asks for more time than the partition allows: it will never start."
    assert [found[key].can_run for key in ("2003", "2004", "2012")] == [False, False, True]


def test_sacct_s_last_row_counts_and_says_who_cancelled() -> None:
    text = "2017|RESIZING\n2017|RESIZING\n2017|COMPLETED\n3024|CANCELLED by 1001\n2041|RUNNING\n"
    found = slurm.parse_sacct(text)
    assert [found[key].state for key in ("2017", "3024", "2041")] == ["ENDED", "ENDED", "RUNNING"]
    assert found["3024"].cause is EndCause.CANCELLED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:43", 43), ("29:31", 1771), ("1:00:00", 3600), ("2-01:00:00", 176400), ("UNLIMITED", None), ("INVALID", None)],
)
def test_time_left(text: str, seconds: int | None) -> None:
    assert slurm.parse_time_left(text) == seconds


def test_an_unknown_word_is_unknown_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert status_of("TELEPORTING").state is AllocationState.UNKNOWN
    assert caplog.text.count("TELEPORTING") == 1


def test_who_cancelled_is_named() -> None:
    assert status_of("CANCELLED by 0").reason == "It was cancelled by root."
    assert status_of("CANCELLED by 4000000001").reason == "It was cancelled by user 4000000001."
    assert status_of("CANCELLED").reason == "It was cancelled."


def answering(monkeypatch: pytest.MonkeyPatch, **answers: str) -> list[str]:
    """Makes commands answer as told, and those not named be missing; gives the commands that were run."""
    ran: list[str] = []

    def run(argv: list[str]) -> Completed:
        ran.append(argv[0])
        if argv[0] not in answers:
            raise SchedulerError(f"the command {argv[0]} is not on this machine")
        return Completed(tuple(argv), 0, answers[argv[0]], "")

    monkeypatch.setattr(slurm, "run", run)
    return ran


def test_accounting_is_asked_only_for_what_squeue_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = answering(monkeypatch, squeue="1|RUNNING|None|0:43\n")
    assert slurm.query(["1"])["1"].state is AllocationState.RUNNING
    assert ran == ["squeue"]
    answering(monkeypatch, squeue="1|CANCELLED|None|0:43\n", sacct="1|CANCELLED by 0\n2|TIMEOUT\n")
    found = slurm.query(["1", "2"])
    assert (found["1"].reason, found["2"].cause) == ("It was cancelled by root.", EndCause.WALLTIME)


def test_a_machine_without_accounting_still_knows_what_squeue_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, squeue="1|CANCELLED|None|0:43\n")
    found = slurm.query(["1", "2"])
    assert found["1"].cause is EndCause.CANCELLED
    assert found["2"].state is AllocationState.ENDED
    assert "no accounting" in found["2"].reason


def test_an_accounting_that_lags_behind_does_not_bring_a_job_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, squeue="1|CANCELLED|None|0:43\n", sacct="1|RUNNING\n")
    assert slurm.query(["1"])["1"].cause is EndCause.CANCELLED


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    assert status_of("PENDING", "(NewReason)").reason == "It waits (NewReason)."


def test_every_state_has_a_sentence_and_only_ends_have_causes() -> None:
    for state, cause, sentence in STATES.values():
        assert sentence.endswith(".")
        assert (cause is EndCause.NONE) == (state is not AllocationState.ENDED)


def test_sbatch_s_answers() -> None:
    assert slurm.parse_submission(sbatch("2001\n")) == "2001"
    assert slurm.parse_submission(sbatch("2001;lab\n")) == "2001"
    for stdout in ("", "Submitted\n"):
        with pytest.raises(SchedulerError):
            slurm.parse_submission(sbatch(stdout))


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "invalid partition specified: nope",
            "sinfo",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified\n",
            "Invalid account or account/partition combination specified",
            "-A",
        ),
        ("sbatch: error: Batch job submission failed: Invalid qos specification\n", "Invalid qos", "qos"),
        (
            "sbatch: error: CPU count per node can not be satisfied\n"
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            "CPU count per node can not be satisfied",
            "-n",
        ),
        ("sbatch: error: Invalid generic resource (gres) specification\n", "Invalid generic resource", "--gres"),
        ("sbatch: error: something new\n", "something new", ""),
    ],
)
def test_a_refusal_by_sbatch_is_said_with_what_to_do(said: str, message: str, hint: str) -> None:
    with pytest.raises(SchedulerError) as error:
        slurm.parse_submission(sbatch(stderr=said, status=1))
    assert error.value.message.startswith("Slurm refused the allocation: ")
    assert message in error.value.message
    assert "sbatch:" not in error.value.message
    assert hint in error.value.hint


def test_variables_that_override_the_script_are_dropped() -> None:
    environment = {"SBATCH_PARTITION": "x", "SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/s", "HOME": "/h"}
    assert slurm.dropped_variables(environment) == ("SBATCH_PARTITION", "SLURM_JOB_ID")
    assert slurm.submission_environment(environment) == {"SLURM_CONF": "/etc/s", "HOME": "/h"}


class Scheduler:
    """Counts its queries; its ids have the statuses that it was given."""

    def __init__(self, **statuses: AllocationStatus) -> None:
        self.known = statuses
        self.asked: list[list[str]] = []
        self.down = False

    def __call__(self, ids: Collection[str]) -> dict[str, AllocationStatus]:
        self.asked.append(sorted(ids))
        if self.down:
            raise SchedulerError("squeue gave no answer")
        return {identifier: self.known[identifier] for identifier in ids}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000_000.0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("hpcsearch.schedulers.query_cache.time.time", lambda: now[0])
    return now


def test_one_query_per_interval_for_all_watchers(clock: list[float]) -> None:
    scheduler = Scheduler(a=RUNNING, b=RUNNING)
    query_cache.statuses(SITE, ["a", "b"], scheduler)
    for _ in range(10):
        clock[0] += 2.9
        assert query_cache.statuses(SITE, ["a"], scheduler)["a"].state is AllocationState.RUNNING
    assert scheduler.asked == [["a", "b"]]
    assert query_cache.statuses(SITE, ["b"], scheduler)["b"].time_left_s == 71
    clock[0] += 2
    query_cache.statuses(SITE, ["b"], scheduler)
    query_cache.statuses(SITE, ["a"], scheduler)
    assert scheduler.asked == [["a", "b"], ["a", "b"]]


def test_what_nobody_asked_about_for_long_is_asked_for_when_wanted(clock: list[float]) -> None:
    scheduler = Scheduler(a=RUNNING)
    query_cache.statuses(SITE, ["a"], scheduler)
    clock[0] += 3600
    scheduler.known["a"] = DONE
    assert query_cache.statuses(SITE, ["a"], scheduler) == {"a": DONE}


def test_a_first_look_asks_where_the_interval_allows_it(clock: list[float]) -> None:
    never = status_of("PENDING", "PartitionConfig")
    scheduler = Scheduler(a=never, b=never)
    query_cache.note(SITE, "a", status_of("PENDING"))
    assert not query_cache.first_look(SITE, "a", scheduler).can_run
    query_cache.note(SITE, "b", status_of("PENDING"))
    assert query_cache.first_look(SITE, "b", scheduler).can_run
    clock[0] += 31
    assert not query_cache.statuses(SITE, ["b"], scheduler)["b"].can_run
    assert len(scheduler.asked) == 2
    scheduler.down = True
    clock[0] += 31
    assert query_cache.first_look(SITE, "b", scheduler) == never


def test_what_has_ended_is_not_asked_for_again(clock: list[float]) -> None:
    scheduler = Scheduler(a=DONE)
    for _ in range(3):
        assert query_cache.statuses(SITE, ["a"], scheduler) == {"a": DONE}
        clock[0] += 1000
    assert scheduler.asked == [["a"]]


def test_what_may_be_requeued_is_asked_for_again(clock: list[float]) -> None:
    scheduler = Scheduler(a=dataclasses.replace(DONE, cause=EndCause.PREEMPTED))
    query_cache.statuses(SITE, ["a"], scheduler)
    clock[0] += 31
    scheduler.known["a"] = RUNNING
    assert query_cache.statuses(SITE, ["a"], scheduler)["a"].state is AllocationState.RUNNING


def test_a_submitted_one_is_queued_without_a_query(clock: list[float]) -> None:
    scheduler = Scheduler(a=RUNNING, b=RUNNING)
    query_cache.statuses(SITE, ["a"], scheduler)
    query_cache.note(SITE, "b", status_of("PENDING"))
    assert query_cache.statuses(SITE, ["b"], scheduler)["b"].state is AllocationState.QUEUED
    assert scheduler.asked == [["a"]]


def test_a_scheduler_that_is_down_is_not_asked_faster(clock: list[float]) -> None:
    scheduler = Scheduler(a=RUNNING)
    query_cache.statuses(SITE, ["a"], scheduler)
    scheduler.down = True
    clock[0] += 31
    for _ in range(3):
        with pytest.raises(SchedulerError, match="gave no answer"):
            query_cache.statuses(SITE, ["a"], scheduler)
    assert len(scheduler.asked) == 2
    with pytest.raises(SchedulerError, match="gave no answer"):
        query_cache.statuses(SITE, ["new"], scheduler)
    assert len(scheduler.asked) == 2
    scheduler.down = False
    clock[0] += 31
    assert query_cache.statuses(SITE, ["a"], scheduler)["a"].state is AllocationState.RUNNING


def test_a_broken_cache_file_is_only_a_memory(clock: list[float]) -> None:
    scheduler = Scheduler(a=RUNNING)
    for text in ("", "{", "[]", '{"queried": 0, "error": "", "ids": {"a": {}}}'):
        query_cache.statuses(SITE, ["a"], scheduler)
        query_cache.cache_file(SITE).write_text(text)
    assert len(scheduler.asked) == 4


def ask_and_count(folder: str) -> None:
    def query(ids: Collection[str]) -> dict[str, AllocationStatus]:
        with Path(folder, "asked").open("a") as file:
            file.write("x")
        return dict.fromkeys(ids, RUNNING)

    query_cache.statuses(SITE, ["a"], query)


def test_watchers_at_the_same_instant_ask_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    context = multiprocessing.get_context("fork")
    watchers = [context.Process(target=ask_and_count, args=(str(tmp_path),)) for _ in range(6)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    assert (tmp_path / "asked").read_text() == "x"
