"""What a watcher keeps of a workflow: it reads what is new alone, and counts as one does who reads everything."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from workflow_bed import commit, ended, finish, new_database, started, take_lease

from hpcsearch.evaluation import State
from hpcsearch.monitor import feed as feed_module
from hpcsearch.monitor.feed import Feed
from hpcsearch.monitor.occupancy import node_slots
from hpcsearch.monitor.places import split_nodes
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.monitor.tally import Seen, Tally
from hpcsearch.monitor.watch import Picture
from hpcsearch.workflow import store
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.store import Batch


def failing(identity: int, attempt: int = 1, message: str = "no", **more: Any) -> dict[str, Any]:
    return ended(
        identity, attempt, state="FAILED", objective=None, error_kind="ValueError", error_message=message, **more
    )


def same(one: Tally, other: Tally) -> None:
    assert one.seen == other.seen
    assert +one.counts == +other.counts
    assert one.running == other.running
    assert (one.best, one.again, one.ended) == (other.best, other.again, other.ended)
    assert list(one.ends) == list(other.ends) and list(one.results) == list(other.results)
    assert [(error, {seen.id for seen in some}) for error, some in one.failures()] == [
        (error, {seen.id for seen in some}) for error, some in other.failures()
    ]


@pytest.mark.parametrize("seed", range(3))
def test_following_comes_to_the_same_as_reading_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(feed_module, "_PAGE", 7)  # many pages
    draw = random.Random(seed)
    engine = new_database(tmp_path, [{"x": 0.5}])
    token = take_lease(engine)
    follower = Feed(Layout(tmp_path))
    waiting, running = [(1, 0)], []
    for _ in range(25):
        waiting += [(identity, 0) for identity, _ in commit(engine, token, None, [{"x": draw.random()}] * 5)]
        draw.shuffle(waiting)
        begun = [(identity, attempt + 1) for identity, attempt in waiting[:4]]
        del waiting[:4]
        commit(engine, token, Batch(started=[started(*one) for one in begun]))
        running += begun
        draw.shuffle(running)
        for identity, attempt in running[:3]:
            kind = draw.choice(["finished", "finished", "failed", "lost"])
            if kind == "finished":
                row = ended(identity, attempt, objective=draw.random(), metadata=json.dumps({"loss": draw.random()}))
            else:
                row = failing(identity, attempt, message=f"at {draw.random()}", final=kind == "failed")
            batch = Batch(ended=[row])
            if kind == "lost":
                batch.requeued.append({"evaluation": identity, "attempt": attempt, "at": 1.0})
                waiting.append((identity, attempt))
            commit(engine, token, batch)
        del running[:3]
        if draw.random() < 0.6:
            follower.refresh()
    follower.refresh()
    whole = Feed(Layout(tmp_path))
    assert whole.refresh()
    same(follower.tally, whole.tally)
    assert whole.tally.again and whole.tally.best and whole.tally.failures()
    assert not follower.refresh()
    engine.dispose()


def test_a_look_reads_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    engine = new_database(tmp_path, [{"x": 0.5}] * 300)
    token = take_lease(engine)
    finish(engine, token, *(ended(number) for number in range(1, 281)))
    feed = Feed(Layout(tmp_path))
    feed.refresh()
    fetched = Counter[str]()

    def count(connection: sqlite3.Connection, record: object) -> None:
        def counted(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
            fetched["rows"] += 1
            return row

        connection.row_factory = counted

    event.listen(Engine, "connect", count)
    try:
        finish(engine, token, ended(290))
        assert feed.refresh()
    finally:
        event.remove(Engine, "connect", count)
    assert feed.tally.counts[State.FINISHED] == 281
    assert fetched["rows"] < 30
    engine.dispose()


def test_what_is_reported_last_is_a_metric(tmp_path: Path) -> None:
    engine = new_database(tmp_path, [{"x": 0.5}])
    token = take_lease(engine)
    feed = Feed(Layout(tmp_path))
    commit(engine, token, Batch(started=[started(1)]))
    feed.refresh()
    for step, loss in ((1.0, 0.9), (2.0, 0.4)):
        row = {"evaluation": 1, "attempt": 1, "step": step, "at": 1.0, "metrics": json.dumps({"loss": loss})}
        commit(engine, token, Batch(reports=[row]))
        assert feed.refresh()
        assert feed.tally.running[1].metrics == {"loss": loss, "step": step}
    commit(engine, token, Batch(ended=[ended(1, metadata=json.dumps({"loss": 0.3}))]))
    feed.refresh()
    assert feed.tally.seen[1].metrics["loss"] == 0.3
    assert list(feed.tally.metrics) == ["loss", "step"]
    engine.dispose()


def test_long_metadata_is_not_kept(tmp_path: Path) -> None:
    engine = new_database(tmp_path, [{"x": 0.5}])
    metadata = {"curve": [0.1] * 1000, "text": "x" * 1000, "word": "good", "loss": 0.3, "none": None, "yes": True}
    finish(engine, take_lease(engine), ended(1, metadata=json.dumps(metadata)))
    engine.dispose()
    feed = Feed(Layout(tmp_path))
    feed.refresh()
    assert feed.tally.seen[1].metrics == {"word": "good", "loss": 0.3, "yes": True}


def test_another_workflow_in_its_place_is_read_anew(tmp_path: Path) -> None:
    engine = new_database(tmp_path, [{"x": 0.5}] * 3)
    finish(engine, take_lease(engine), *(ended(number) for number in (1, 2, 3)))
    engine.dispose()
    feed = Feed(Layout(tmp_path))
    feed.refresh()
    (tmp_path / "workflow.db").unlink()
    engine = new_database(tmp_path, [{"x": 0.1}])
    assert feed.refresh()
    assert list(feed.tally.seen) == [1] and not feed.tally.results
    engine.dispose()


def test_errors_that_differ_in_numbers_are_one_group() -> None:
    tally = Tally(minimize=True)
    for number, message in enumerate(("nan after epoch 3", "nan after epoch 14", "no such file"), start=1):
        failed = {"state": State.FAILED, "error_kind": "E", "gathered_at": float(number)}
        tally.put(Seen(number, {}, error_message=message, **failed))
    assert [(error, len(some)) for error, some in tally.failures()] == [
        ("E: nan after epoch 14", 2),
        ("E: no such file", 1),
    ]


@pytest.mark.parametrize(("names", "nodes"), [("n1", ("n1",)), ("n1,n2", ("n1", "n2")), (None, ()), ("", ())])
def test_nodes_of_an_evaluation(names: str | None, nodes: tuple[str, ...]) -> None:
    assert split_nodes(names) == nodes


#: What evaluations take of three nodes with four slots each, and how many slots are busy then on each.
PLACES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "one slot": ({"node": "n1"}, (1, 0, 0)),
    "three slots of a node": ({"node": "n1", "nodes": "n1", "slots": 3}, (3, 0, 0)),
    "all slots of a node": ({"node": "n1", "nodes": "n1", "slots": 4}, (4, 0, 0)),
    "two nodes": ({"node": "n2", "nodes": "n2,n3", "slots": 8}, (0, 4, 4)),
}


@pytest.mark.parametrize(("place", "slots"), PLACES.values(), ids=PLACES)
def test_all_the_slots_that_an_evaluation_takes_are_busy(
    tmp_path: Path, place: dict[str, Any], slots: tuple[int, int, int]
) -> None:
    """Now, for who reads everything and who follows, and in the node-hours."""
    engine = new_database(tmp_path, [{"x": 0.5}] * 2)
    token = take_lease(engine)
    facts = {"state": "UP", "slots": 4, "cores": 4, "gpus": 0, "memory_mb": 1, "held_from_at": 100.0}
    commit(engine, token, Batch(nodes=[{"name": name, **facts} for name in ("n1", "n2", "n3")]))
    store.update_allocation(engine, 1, state="RUNNING", started_at=100.0, scheduler_id="none.such.id")
    finish(engine, token, ended(1, started_at=100.0, ended_at=140.0, **place))
    layout = Layout(tmp_path)
    busy = {node.name: node.busy_s for node in take_snapshot(layout, heard={}, with_nodes=True).nodes}
    assert busy == pytest.approx({f"n{number}": 10.0 * count for number, count in enumerate(slots, start=1)})
    commit(engine, token, Batch(started=[started(2) | place]))
    engine.dispose()
    (feed := Feed(layout)).refresh()
    for seen in (take_snapshot(layout, heard={}), take_snapshot(layout, heard={}, tally=feed.tally)):
        assert (seen.slots, seen.slots_busy, seen.running) == (12, sum(slots), 1)
    drawn = {node.name: node.busy for node in node_slots(Picture(seen, feed.tally))}
    assert drawn == {f"n{number}": count for number, count in enumerate(slots, start=1)}
