"""``hpcsearch why``: each cause in the tables is found from what was recorded, and said in a sentence."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workflow_bed import ended, finish, started, take_lease

import hpcsearch
from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.evaluation import State
from hpcsearch.monitor import causes, why_evaluation, why_workflow
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.monitor.nodes import NodeView
from hpcsearch.monitor.snapshot import Snapshot
from hpcsearch.monitor.why import Why, as_sentence
from hpcsearch.monitor.why_workflow import Situation, answer
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout

MakeWorkflow = Callable[..., Layout]

TRACEBACK = """Traceback (most recent call last):
  File "/home/me/model_run.py", line 12, in run
    return train(config)
  File "/home/me/model.py", line 30, in train
    raise ValueError("the loss is nan")
ValueError: the loss is nan
"""


@pytest.fixture
def record(make_workflow: MakeWorkflow) -> Callable[..., Layout]:
    """Makes a workflow whose evaluation 1 had these attempts, each a row as ``workflow_bed.ended`` makes it."""

    def make(*attempts: dict[str, Any], settings: dict[str, Any] | None = None) -> Layout:
        layout = make_workflow(proposed=1)
        engine = database.writer(layout.database)
        token = take_lease(engine)
        for number, changes in enumerate(attempts, start=1):
            row = ended(1, number, **changes)
            if row["state"] == "RUNNING":
                store.commit(engine, token, 1, [store.Batch(started=[started(1, number)])])
            else:
                finish(engine, token, row)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE workflow SET settings = ?", (json.dumps(settings or {}),))
        engine.dispose()
        return layout

    return make


def failed(kind: str, message: str = "the message", state: State = State.FAILED, **more: Any) -> dict[str, Any]:
    error = {"error_kind": kind, "error_message": message, "objective": None}
    return {"state": state.value, **error, **more}


@pytest.mark.parametrize("kind", sorted(causes.CAUSES))
def test_every_kind_in_the_table_is_one_sentence_and_something_to_do(record: Callable[..., Layout], kind: str) -> None:
    state = {"Timeout": State.TIMED_OUT, "NodeLost": State.LOST, "SlotEnded": State.LOST}.get(kind, State.FAILED)
    why = why_evaluation.explain(record(failed(kind, "the message.", state, traceback=TRACEBACK)), 1)
    assert why.cause.endswith(".") and ".." not in why.cause and "{" not in why.cause + why.todo
    assert "the message" in why.cause or kind == "MemoryError"
    assert why.todo or kind == "Stopped"


#: How the code names the kinds of errors that it records itself.
_NAMED = re.compile(r'(?:"kind": |[Ff]ailure\(|\.fail\(\s*|attempt, )"([A-Z][a-z]\w+)"')


def test_every_kind_that_is_recorded_is_in_the_table() -> None:
    package = Path(hpcsearch.__file__).parent
    files = [*package.glob("worker/*.py"), *package.glob("allocation/*.py")]
    named = {kind for file in files for kind in _NAMED.findall(file.read_text())}
    assert named >= {"NodeLost", "Timeout", "Stopped", "ProcessExit", "LaunchError", "RankMissing"}
    assert named <= causes.CAUSES.keys()


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("ValueError", "raised ValueError: the message, in train (/home/me/model.py, line 30)."),
        ("MyOwnError", "raised MyOwnError: the message, in train"),
        ("SIGSEGV", "crashed: the message, which is a fault in compiled code"),
        ("SIGKILL", "was killed: the message, and the node's kernel has not said"),
        ("SIGUSR2", "was ended by a signal: the message."),
        ("signal 40", "was ended by a signal: the message."),
        ("OutOfMemory", "The node ran out of memory: the message."),
        ("OutOfMemoryError", "Its GPU ran out of memory: the message, in train"),
        ("MemoryError", "MemoryError, in train"),
        ("ProcessExit", "ended by itself"),
        ("BadResultError", "is no objective"),
        ("ModuleNotFoundError", "not installed where it ran"),
    ],
)
def test_the_cause_of_a_failure(record: Callable[..., Layout], kind: str, part: str) -> None:
    why = why_evaluation.explain(record(failed(kind, traceback=TRACEBACK)), 1)
    assert part in why.cause
    assert why.then[-1] == "That is final: what fails is tried again with --retry-failed alone."


def test_the_frame_is_left_out_where_there_is_none(record: Callable[..., Layout]) -> None:
    why = why_evaluation.explain(record(failed("KeyError", "'lr'")), 1)
    assert why.cause == "The run function raised KeyError: 'lr'."


def test_a_lost_evaluation_that_finished_elsewhere(record: Callable[..., Layout]) -> None:
    layout = record(
        failed("NodeLost", "node n1 was lost: its agent is silent", State.LOST, final=False),
        {"node": "n2", "objective": 0.25},
    )
    why = why_evaluation.explain(layout, 1)
    assert why.cause == "Its node went away while it ran: node n1 was lost: its agent is silent."
    assert why.then[0].startswith("Attempt 1, on node n1 in allocation 1, was lost at ")
    assert why.then[1].startswith("Attempt 2, on node n2 in allocation 1, finished at ")
    assert why.then[2] == "In the end it finished, with objective 0.25."
    assert why.todo == ""


def test_tries_that_are_used_up(record: Callable[..., Layout]) -> None:
    lost = failed("NodeLost", "gone", State.LOST, final=False)
    layout = record(lost, {**lost, "node": "n2"}, {**lost, "gathered_at": 5.0}, settings={"max_attempts": 3})
    assert why_evaluation.explain(layout, 1).then[-1] == "That is final: it may be tried 3 times."


@pytest.mark.parametrize(
    ("attempts", "cause", "last"),
    [
        ([], "Evaluation 1 has not begun: it waits for a slot.", None),
        ([{"state": "RUNNING"}], "Nothing has gone wrong: evaluation 1 runs on node n1 since ", None),
        ([{}], "Nothing went wrong: evaluation 1 finished, with objective 1.", None),
        (
            [{"state": "INTERRUPTED", "final": False}],
            "The allocation ended while it ran",
            "It waits to be tried again.",
        ),
        ([{"state": "STOPPED"}], "A stopping rule ended it early", ""),
        (
            [failed("Stopped", "stopped by asha after 0.3", State.STOPPED)],
            "It was ended early, which is no failure",
            "",
        ),
        ([failed("Timeout", state=State.TIMED_OUT)], "It took too long", "That is final: what takes too long"),
        (
            [failed("NodeLost", state=State.LOST, final=False), {"state": "RUNNING"}],
            "Its node went away",
            "It is being tried again now.",
        ),
    ],
)
def test_what_happened_then(
    record: Callable[..., Layout], attempts: list[dict[str, Any]], cause: str, last: str | None
) -> None:
    why = why_evaluation.explain(record(*attempts), 1)
    assert why.cause.startswith(cause)
    if last is None:
        assert why.then == ()
    elif last:
        assert why.then[-1].startswith(last)


def test_a_message_over_several_lines_is_one_sentence(record: Callable[..., Layout]) -> None:
    why = why_evaluation.explain(record(failed("ValueError", "one\n  two \x1b[31m.")), 1)
    assert "\n" not in why.cause
    assert all("\x1b" not in line for line in why.lines(40))
    assert all(len(line) <= 40 for line in why.lines(40))


# ---- why nothing runs

VIEW = AllocationView(
    *(1, "cluster", "slurm", "77", "batch", "lab", 2, 1800.0, "serial", 1.0, 2.0, 5e9, None),
    *(Standing.RUNNING, "It runs.", 600.0, True),
)
QUEUED = dataclasses.replace(
    VIEW, standing=Standing.QUEUED, started_at=None, deadline_at=None, time_left_s=None, reason="It waits for nodes."
)
NODE = NodeView(1, "n1", "up", 4, 4, 0, 2.0, None, 10.0, 0.0, 0.0, "")


def situation(
    *allocations: AllocationView, counts: dict[State, int] | None = None, errors: tuple[Any, ...] = (), **changes: Any
) -> Situation:
    values: dict[str, Any] = {
        "name": "poly",
        "directory": Path("/w/poly"),
        "taken_at": time.time(),
        "created_at": 1.0,
        "started_at": 2.0,
        "finished_at": None,
        "outcome": "",
        "search": "ambs",
        "minimize": False,
        "max_evals": 50,
        "max_success": None,
        "names": (),
        "settings": {},
        "slots": 8,
        "slots_busy": 3,
        "best": None,
        "counts": counts or {},
        "allocations": allocations,
        "nodes": (NODE,),
        **changes,
    }
    return Situation(Snapshot(**values), "poly", errors)


def gone(standing: Standing, reason: str, **changes: Any) -> AllocationView:
    return dataclasses.replace(VIEW, standing=standing, reason=reason, time_left_s=None, ended_at=9.0, **changes)


LOST = dataclasses.replace(NODE, state="lost", reason="its agent is silent")
SILENT = "Its driver has been silent for 90 s: the node that it runs on may be dead. End it with 'hpcsearch cancel'."

WORKFLOWS: list[tuple[str, Situation, str, str]] = [
    (
        "the budget is spent",
        situation(gone(Standing.ENDED, ""), finished_at=5.0, outcome="the budget of evaluations is spent"),
        "The search is done: the budget of evaluations is spent.",
        "hpcsearch resume poly --max-evals N', N larger than 50",
    ),
    (
        "the grid is done",
        situation(gone(Standing.ENDED, ""), finished_at=5.0, outcome="the whole grid is evaluated"),
        "The search is done: the whole grid is evaluated.",
        "hpcsearch results poly",
    ),
    ("something runs", situation(VIEW, counts={State.RUNNING: 3}), "Something runs: 3 evaluations run in", ""),
    (
        "a silent driver",
        situation(dataclasses.replace(VIEW, reason=SILENT), counts={State.RUNNING: 3}),
        "Its driver has been silent for 90 s",
        "hpcsearch cancel",
    ),
    (
        "the job script has just begun",
        situation(dataclasses.replace(VIEW, started_at=None)),
        "Allocation 1 has begun, and its driver has not recorded that it works.",
        "hpcsearch logs poly --allocation 1",
    ),
    (
        "all nodes are lost",
        situation(VIEW, nodes=(LOST, LOST)),
        "All nodes are lost or set aside (n1: its agent is silent).",
        "hpcsearch logs poly",
    ),
    (
        "nodes are starting",
        situation(VIEW, nodes=(dataclasses.replace(NODE, state="starting"), LOST)),
        "No node of allocation 1 is ready (1 starting, 1 lost).",
        "hpcsearch logs poly",
    ),
    ("the search is asked", situation(VIEW), "No configuration waits: the search is being asked", "hpcsearch logs"),
    (
        "not enough time",
        situation(VIEW, counts={State.PROPOSED: 4}),
        "4 evaluations wait, and nothing is started: the driver thinks that none can finish",
        "hpcsearch logs poly",
    ),
    (
        "it waits in the queue",
        situation(QUEUED),
        "Allocation 1 (77) waits in queue batch: it waits for nodes.",
        "nothing to do but wait",
    ),
    (
        "it will never start",
        situation(dataclasses.replace(QUEUED, can_run=False, reason="It asks for too much: it will never start.")),
        "Allocation 1 is queued in vain. It asks for too much: it will never start.",
        "hpcsearch cancel poly",
    ),
    (
        "its submission was cut off",
        situation(dataclasses.replace(QUEUED, standing=Standing.SUBMITTED, scheduler_id=None, reason="It has no id.")),
        "It has no id.",
        "hpcsearch resume poly",
    ),
    (
        "it is being cancelled",
        situation(dataclasses.replace(VIEW, standing=Standing.CANCELLING, reason="It was told to end at 12:00:00.")),
        "Allocation 1 is being cancelled: it was told to end at 12:00:00.",
        "",
    ),
    (
        "it died",
        situation(gone(Standing.DIED, "A node of it failed.")),
        "No allocation works on it. The last one (1) died. A node of it failed.",
        "See 'hpcsearch logs poly', then go on with 'hpcsearch resume poly'.",
    ),
    (
        "it died before its driver had begun",
        situation(gone(Standing.DIED, "It ended before.", started_at=None)),
        "The last one (1) died.",
        "hpcsearch logs poly --allocation 1",
    ),
    (
        "somebody cancelled it",
        situation(gone(Standing.CANCELLED, "It was told to end at 12:00:00.", started_at=None)),
        "The last one (1) has ended: it was told to end",
        "Go on with 'hpcsearch resume poly'.",
    ),
    ("nothing was submitted", situation(), "No allocation was ever submitted for it.", "hpcsearch resume poly"),
    *(
        (outcome, situation(gone(Standing.ENDED, outcome)), f"has ended: {outcome}.", todo)
        for outcome, todo in (
            ("the smoke test failed: evaluation 1 had ended with ValueError", "Mend the run function"),
            ("no node can run anything: its agent ended", "hpcsearch doctor"),
            ("the search failed: no memory", "hpcsearch logs poly"),
            ("no evaluation can finish in the walltime that is left", "--time T"),
            ("the allocation's walltime is at its end", "hpcsearch resume poly"),
            ("the allocation was told to end", "hpcsearch resume poly"),
            ("each evaluation that waits takes 4 nodes or more, and 3 are left", "--nodes N"),
            ("something that nobody knows", "hpcsearch resume poly"),
        )
    ),
]


@pytest.mark.parametrize(
    ("seen", "cause", "todo"), [case[1:] for case in WORKFLOWS], ids=[case[0] for case in WORKFLOWS]
)
def test_why_nothing_runs(seen: Situation, cause: str, todo: str) -> None:
    why = answer(seen)
    assert cause in why.cause and why.cause.endswith(".")
    assert todo in why.todo if todo else why.todo == ""


def test_every_question_is_the_answer_of_a_case() -> None:
    answered = {next(question for question in why_workflow.QUESTIONS if question(case[1])) for case in WORKFLOWS}
    assert answered == set(why_workflow.QUESTIONS)


def test_a_chain_that_waits_behind_the_one_that_runs_is_not_the_cause() -> None:
    second = dataclasses.replace(QUEUED, number=2)
    assert answer(situation(VIEW, second, counts={State.RUNNING: 1})).cause.startswith("Something runs: 1 evaluation")


def test_failures_are_named_with_one_to_look_at() -> None:
    why = answer(
        situation(VIEW, counts={State.RUNNING: 1, State.FAILED: 4}, errors=(("ValueError", 3, 9), ("X", 1, 2)))
    )
    assert why.then[-1] == (
        "4 of 4 evaluations that ended have failed, most often (3) with ValueError: see 'hpcsearch why poly 9'."
    )


# ---- the command


def test_the_command(record: Callable[..., Layout], capsys: pytest.CaptureFixture[str]) -> None:
    layout = record(failed("ValueError", "bad", traceback=TRACEBACK))
    assert run(hpcsearch_command, ["why", str(layout.root), "1"], "hpcsearch") == 0
    assert capsys.readouterr().out.startswith("The run function raised ValueError: bad, in train (")
    assert run(hpcsearch_command, ["why", str(layout.root), "1", "--format", "json"], "hpcsearch") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"cause", "then", "todo"}
    assert run(hpcsearch_command, ["why", str(layout.root)], "hpcsearch") == 0
    out = capsys.readouterr().out
    assert out.startswith("It has no id of the scheduler") and "most often (1) with ValueError" in out


def test_what_was_stopped_has_not_failed(record: Callable[..., Layout]) -> None:
    layout = record(failed("Stopped", "stopped by asha after 0.3", State.STOPPED))
    assert not any("have failed" in line for line in why_workflow.explain(layout).then)


@pytest.mark.parametrize(("arguments", "code"), [(["7"], 3), (["x"], 2), (["0"], 2), (["--format", "xml"], 2)])
def test_wrong_input(
    record: Callable[..., Layout], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    assert run(hpcsearch_command, ["why", str(record().root), *arguments], "hpcsearch") == code
    assert "Traceback" not in capsys.readouterr().err


def test_sentences() -> None:
    assert as_sentence("it  ended..\n") == "It ended."
    assert as_sentence("") == ""
    assert list(Why("a b c", ("d",), "e").lines(3)) == ["a b", "c", "d", "e"]
