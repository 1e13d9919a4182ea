"""Terminals of any size, and a workflow that looks the same each time."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from hpcsearch.evaluation import State
from hpcsearch.schedulers import AllocationState, AllocationStatus, query_cache
from hpcsearch.sites.find import find_site
from hpcsearch.sites.load import dump_site, read_site
from hpcsearch.workflow import database, lease, store
from hpcsearch.workflow.layout import Layout, new_directory

INSTALL = Path(__file__).parents[1] / "cluster" / "install.sh"

#: A loaded machine needs its time; nothing here is a measurement.
PATIENCE_S = 60.0

#: When the first evaluation of the workflow began, and how far they are apart (seconds).
BEGAN_AT, STEP_S = 1_750_000_000.0, 60.0
NODES, SLOTS = ("n1", "n2", "n3", "n4"), 4


@pytest.fixture(scope="session")
def tmux() -> str:
    """The terminal multiplexer, installed where it is missing."""
    subprocess.run([str(INSTALL), "tmux"], check=True)
    return "tmux"


@dataclass
class Terminal:
    """A program in a terminal of its own."""

    name: str  # of the tmux server, which nobody shares

    def __call__(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, *keys: str) -> None:
        self("send-keys", "-t", "0", *keys)

    def screen(self) -> str:
        lines = self("capture-pane", "-p", "-t", "0").splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def shows(self, *words: str) -> str:
        """Waits until everything is on the screen, and the screen stands still; returns it."""
        until_s = time.monotonic() + PATIENCE_S
        screen = before = ""
        while time.monotonic() < until_s:
            before, screen = screen, self.screen()
            if screen == before and all(word in screen for word in words):
                return screen
            time.sleep(0.2)
        raise AssertionError(f"{words} did not appear; the screen is\n{screen}")

    def resize(self, columns: int, lines: int) -> None:
        self("resize-window", "-t", "0", "-x", str(columns), "-y", str(lines))


@pytest.fixture
def terminal(tmux: str, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts ``hpcsearch`` with arguments in a terminal of so many columns and lines; a shell is left when it ends."""
    opened: list[Terminal] = []

    def start(columns: int, lines: int, *arguments: str) -> Terminal:
        one = Terminal(f"hpcsearch-{os.getpid()}-{len(opened)}")
        places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HPCSEARCH_ROOT": str(tmp_path / "workflows")}
        environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", **places}
        environment.pop("NO_COLOR", None)
        command = shlex.join([sys.executable, "-m", "hpcsearch.cli", *arguments])
        size = ["-x", str(columns), "-y", str(lines)]
        whole = f"{command}; echo ended with $?; exec cat"
        argv = [tmux, "-L", one.name, "-u", "-f", "/dev/null", "new-session", "-d", *size, whole]
        subprocess.run(argv, check=True, env=environment)
        opened.append(one)
        return one

    yield start
    for one in opened:
        one("kill-server")


@dataclass
class Search:
    """A workflow, and what its driver would go on writing."""

    layout: Layout
    engine: Engine
    token: str

    def begin(self, *ids: int) -> None:
        rows = [{**_where(identity), "state": "RUNNING", "started_at": _at(identity)} for identity in ids]
        store.commit(self.engine, self.token, 1, [store.Batch(started=rows)])

    def finish(self, identity: int, **changes: Any) -> None:
        row = {
            **_where(identity),
            "state": State.FINISHED.value,
            "failures": 0,
            "started_at": _at(identity),
            "ended_at": _at(identity) + 45,
            "duration_s": 45.0,
            "gathered_at": _at(identity) + 45,
            "objective": 10.0 - 40.0 / (identity + 3),
            "metadata": json.dumps({"accuracy": 1 - 1 / (identity + 1)}),
            "error_kind": None,
            "error_message": None,
            "traceback": None,
        }
        store.commit(self.engine, self.token, 1, [store.Batch(ended=[row | changes])])


def _at(identity: int) -> float:
    return BEGAN_AT + STEP_S * identity


def _where(identity: int) -> dict[str, Any]:
    place = identity % (len(NODES) * SLOTS)
    node = NODES[place % len(NODES)]
    spans = f"{node},n1" if node == "n2" else None
    where = {"node": node, "nodes": spans, "slot": place // len(NODES), "slots": 1}
    return {"evaluation": identity, "attempt": 1, "allocation": 1, **where}


FAILED = {
    "state": "FAILED",
    "objective": None,
    "error_kind": "ValueError",
    "error_message": "the loss is nan",
    "traceback": 'Traceback (most recent call last):\n  File "/home/me/model.py", line 30, in train\nValueError\n',
}


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """A workflow with 30 evaluations at an allocation of a Slurm that has just said how it stands."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "workflows" / "demo")
    with new_directory(layout) as draft:
        engine = database.writer(draft.database, create=True)
        configurations = [
            {"act": ("relu", "tanh")[n % 2], "lr": 0.1 / n, "momentum": n / 40, "units": 8 * n} for n in range(1, 31)
        ]
        store.create(engine, _workflow(tmp_path), 5.0, configurations)
        store.add_allocation(engine, _allocation("4711"))
        engine.dispose()
        draft.allocation(1).mkdir(parents=True)
        site = dataclasses.replace(find_site("slurm"), poll_interval_s=3600)
        (draft.allocation(1) / "site.json").write_text(dump_site(site))
    heard(layout, AllocationStatus(AllocationState.RUNNING, "It runs.", "RUNNING"))
    engine = database.writer(layout.database)
    with engine.connect() as connection:
        free = lease.holder(connection)
    token = lease.take(engine, 1, os.getpid(), free)
    assert token is not None
    made = Search(layout, engine, token)
    _fill(made)
    yield made
    engine.dispose()


def heard(layout: Layout, status: AllocationStatus) -> None:
    """Lets the scheduler have said so a moment ago: it is not asked again within an hour."""
    site = read_site(layout.allocation(1) / "site.json")
    query_cache.note(site, "4711", status)
    file = query_cache.cache_file(site)
    file.write_text(json.dumps({**json.loads(file.read_text()), "queried": time.time()}))


def _workflow(folder: Path) -> dict[str, Any]:
    return {
        "name": "demo",
        "problem": f"{folder}/problem.py:Problem",
        "run": f"{folder}/run.py:run",
        "cwd": str(folder),
        "names": json.dumps(["act", "lr", "momentum", "units"]),
        "minimize": 0,
        "search": "ambs",
        "search_arguments": "{}",
        "max_evals": 60,
        "settings": json.dumps({"max_attempts": 3}),
    }


def _allocation(identifier: str) -> dict[str, Any]:
    facts = {"site": "slurm", "scheduler": "slurm", "queue": "batch", "account": "lab", "scheduler_id": identifier}
    return {"number": 1, **facts, "nodes": 4, "walltime_s": 7200.0, "job_mode": "serial"}


def _fill(made: Search) -> None:
    """26 evaluations have ended, 3 of them failed; 3 run, one on two nodes; a node is lost."""
    store.begin_allocation(made.engine, made.token, 1, time.time() + 7195)
    facts = {"slots": SLOTS, "cores": 16, "gpus": 0, "memory_mb": 64000, "held_from_at": BEGAN_AT}
    nodes = [{"name": name, "state": "UP", **facts} for name in NODES]
    nodes[3] |= {"state": "LOST", "held_to_at": BEGAN_AT + 600, "reason": "its agent is silent"}
    store.commit(made.engine, made.token, 1, [store.Batch(nodes=nodes)])
    for identity in range(1, 27):
        made.begin(identity)
        made.finish(identity, **(FAILED if identity in (5, 11, 20) else {}))
    made.begin(*(identity for identity in range(27, 31) if identity % 4 != 3))
    with made.engine.begin() as connection:  # what the test takes is no silence of the driver
        connection.exec_driver_sql("UPDATE lease SET beat_at = ?", (time.time() + 3600,))
        connection.exec_driver_sql("UPDATE allocation SET started_at = ?", (BEGAN_AT,))


#: What differs from one run to the next.
_CLOCK = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?\b")
_PACE = re.compile(r"(?ms)^(Pace +).*?(?=^Best)")


def masked(screen: str) -> str:
    """The screen without what differs from one run to the next."""
    kept = _PACE.sub(r"\1(masked)\n", screen)
    return _CLOCK.sub(lambda match: re.sub(r"\d", "#", match[0]), kept).rstrip() + "\n"
