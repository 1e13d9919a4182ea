"""Why nothing runs on a workflow: a table of questions, of which the first that is answered is the cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpcsearch.evaluation import State
from hpcsearch.monitor.allocations import AllocationView, Standing
from hpcsearch.monitor.nodes import states_in_words
from hpcsearch.monitor.snapshot import Snapshot, take_snapshot
from hpcsearch.monitor.why import Why, as_sentence
from hpcsearch.workflow import queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout


@dataclass(frozen=True)
class Situation:
    """What the answer is taken from."""

    snapshot: Snapshot
    typed: str  # what to type for the workflow
    errors: Sequence[tuple[str, int, int]]  # kinds of errors, how many ended so, and the latest one's id

    @property
    def running(self) -> AllocationView | None:
        """The allocation that works, as far as is known."""
        return next((one for one in self.snapshot.live if one.standing is Standing.RUNNING), None)

    @property
    def waiting(self) -> AllocationView | None:
        return next((one for one in self.snapshot.live if one.standing is not Standing.RUNNING), None)


def explain(layout: Layout) -> Why:
    """Raises DatabaseError when the database cannot be read."""
    snapshot = take_snapshot(layout, with_nodes=True)
    with reading(layout.database) as connection:
        errors = queries.error_kinds(connection)
    return answer(Situation(snapshot, layout.typed, errors))


def answer(situation: Situation) -> Why:
    """The first answer that there is."""
    found = next(filter(None, (question(situation) for question in QUESTIONS)))
    return Why(found.cause, (*found.then, *_failures(situation)), found.todo)


def _failures(situation: Situation) -> Sequence[str]:
    total = sum(count for _, count, _ in situation.errors)
    if not total:
        return ()
    kind, count, identity = situation.errors[0]
    of = f"{total} of {situation.snapshot.ended} evaluations that ended have failed"
    return (f"{of}, most often ({count}) with {kind}: see 'hpcsearch why {situation.typed} {identity}'.",)


# ---- the questions, each answered with None where it is not the cause


def _done(s: Situation) -> Why | None:
    if s.snapshot.finished_at is None:
        return None
    budget = "budget" in s.snapshot.outcome
    more = f"Go on with 'hpcsearch resume {s.typed} --max-evals N', N larger than {s.snapshot.max_evals}."
    todo = more if budget else f"See 'hpcsearch results {s.typed}'."
    return Why(f"The search is done: {s.snapshot.outcome.rstrip('.')}.", todo=todo)


def _silent(s: Situation) -> Why | None:
    one = s.running
    if one is None or "silent" not in one.reason:
        return None
    sentence, _, rest = one.reason.partition(". ")
    return Why(as_sentence(sentence), todo=rest)


def _runs(s: Situation) -> Why | None:
    one, snapshot = s.running, s.snapshot
    if one is None or not snapshot.running:
        return None
    idle = snapshot.slots - snapshot.slots_busy
    then = (f"{idle} slots are idle.",) if idle else ()
    evaluations = "1 evaluation runs" if snapshot.running == 1 else f"{snapshot.running} evaluations run"
    return Why(f"Something runs: {evaluations} in allocation {one.number}, on {snapshot.slots} slots.", then)


def _not_begun(s: Situation) -> Why | None:
    one = s.running
    if one is None or one.started_at is not None:
        return None
    return Why(
        f"Allocation {one.number} has begun, and its driver has not recorded that it works.",
        todo=f"That takes seconds; if it takes minutes, see 'hpcsearch logs {s.typed} --allocation {one.number}'.",
    )


def _no_node(s: Situation) -> Why | None:
    one = s.running
    if one is None:
        return None
    nodes = [node for node in s.snapshot.nodes if node.allocation == one.number]
    if any(node.state == "up" for node in nodes):
        return None
    log = f"The driver's log has more: 'hpcsearch logs {s.typed}'."
    troubles = [node for node in nodes if node.state in ("lost", "set aside")]
    if len(troubles) == len(nodes) and troubles:
        last = troubles[-1]
        why = f": {last.reason}" if last.reason else ""
        return Why(f"All nodes are lost or set aside ({last.name}{why}).", todo=log)
    words = states_in_words(nodes)
    return Why(f"No node of allocation {one.number} is ready ({words}).", todo=log)


def _nothing_started(s: Situation) -> Why | None:
    one, counts = s.running, s.snapshot.counts
    if one is None:
        return None
    waiting = counts.get(State.PROPOSED, 0) + counts.get(State.INTERRUPTED, 0)
    if not waiting:
        return Why(
            "No configuration waits: the search is being asked for some.",
            todo=f"That takes seconds; if it takes longer, see 'hpcsearch logs {s.typed}'.",
        )
    return Why(
        f"{waiting} evaluations wait, and nothing is started: the driver thinks that none can finish in the time left, "
        "or it is about to start some.",
        todo=f"The driver's log says which: 'hpcsearch logs {s.typed}'.",
    )


def _ends(s: Situation) -> Why | None:
    one = s.waiting
    if one is None or one.standing is not Standing.CANCELLING:
        return None
    return Why(f"Allocation {one.number} is being cancelled: {one.reason[:1].lower()}{one.reason[1:]}")


def _never(s: Situation) -> Why | None:
    one = s.waiting
    if one is None or one.can_run:
        return None
    return Why(
        f"Allocation {one.number} is queued in vain. {one.reason}",
        todo=f"Type 'hpcsearch cancel {s.typed}', then 'hpcsearch resume {s.typed}' with other --nodes, --time, "
        "--queue or --account.",
    )


def _queued(s: Situation) -> Why | None:
    one = s.waiting
    if one is None:
        return None
    if one.scheduler_id is None:
        return Why(one.reason, todo=f"If nobody is submitting it now, type 'hpcsearch resume {s.typed}'.")
    reason = one.reason or "Its scheduler has not said why."
    return Why(
        f"Allocation {one.number} ({one.scheduler_id}) waits in queue {one.queue}: {reason[:1].lower()}{reason[1:]}",
        todo="There is nothing to do but wait.",
    )


#: What a driver records when it ends -> what to do.
OUTCOMES: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), todo)
    for pattern, todo in (
        ("smoke test", "Mend the run function, then type 'hpcsearch resume {workflow}'."),
        ("no node can run", "See 'hpcsearch logs {workflow}', and look at the machine with 'hpcsearch doctor'."),
        ("that waits takes", "Resume with as many nodes as that: 'hpcsearch resume {workflow} --nodes N'."),
        ("search (failed|cannot)", "See 'hpcsearch logs {workflow}', then type 'hpcsearch resume {workflow}'."),
        (
            "can finish in the walltime",
            "Give more time than an evaluation takes: 'hpcsearch resume {workflow} --time T'.",
        ),
        ("walltime|warned|told to end|cancelled|preempt", "Go on with 'hpcsearch resume {workflow}'."),
    )
)
_RESUME = "Go on with 'hpcsearch resume {workflow}'."


def _ended(s: Situation) -> Why | None:
    one = s.snapshot.last
    if one is None or one.standing not in (Standing.ENDED, Standing.CANCELLED):
        return None
    todo = next((todo for pattern, todo in OUTCOMES if pattern.search(one.reason.lower())), _RESUME)
    reason = as_sentence(one.reason or "its driver recorded its end and no reason")
    return Why(
        f"No allocation works on it. The last one ({one.number}) has ended: {reason[:1].lower()}{reason[1:]}",
        todo=todo.format(workflow=s.typed),
    )


def _died(s: Situation) -> Why | None:
    one = s.snapshot.last
    if one is None or one.standing is not Standing.DIED:
        return None
    log = f"--allocation {one.number}" if one.started_at is None else ""
    return Why(
        f"No allocation works on it. The last one ({one.number}) died. {one.reason}".strip(),
        todo=f"See {f'hpcsearch logs {s.typed} {log}'.strip()!r}, then go on with 'hpcsearch resume {s.typed}'.",
    )


def _never_submitted(s: Situation) -> Why | None:
    return Why("No allocation was ever submitted for it.", todo=f"Type 'hpcsearch resume {s.typed}'.")


#: In the order in which one cause hides those behind it.
QUESTIONS: Sequence[Callable[[Situation], Why | None]] = (
    *(_done, _silent, _runs, _not_begun, _no_node, _nothing_started),
    *(_ends, _never, _queued, _died, _ended, _never_submitted),
)
