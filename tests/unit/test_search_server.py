"""The search as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROBLEM = """
import os, sys
print("noise on standard output")
os.write(1, b"noise on descriptor 1\\n")
assert sys.stdin.read() == ""
from hpcsearch import HpProblem
Problem = HpProblem()
Problem.add_hyperparameter((0.0, 1.0), "x")
few = HpProblem(minimize=True)
few.add_hyperparameter((1, 3), "n")
"""

READY = {"op": "ready", "names": ["x"], "minimize": False}


class Peer:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpcsearch.search.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, *messages: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> tuple[bytes, bytes]:
        return self.process.communicate(timeout=30)


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "problem.py").write_text(PROBLEM)
    where = {"problem": "problem.py", "cwd": str(tmp_path)}
    return {"op": "start", **where, "search": "random", "arguments": {}, "seed": 0}


def ask(n: int) -> dict[str, Any]:
    return {"op": "ask", "n": n}


def test_a_whole_conversation(peer: Peer, start: dict[str, Any]) -> None:
    peer.send({**start, "search": "ambs", "arguments": {"n_candidates": "50"}, "background": True})
    assert peer.receive() == READY
    peer.send({"op": "pending", "configurations": [{"x": 0.5}]}, {"op": "tell", "results": [[{"x": 0.25}, 1.0]]})
    for n in (8, 1, 4):
        peer.send(ask(n))
        reply = peer.receive()
        assert reply["op"] == "proposed" and reply["exhausted"] is False
        assert len(reply["configurations"]) == n
        peer.send({"op": "tell", "results": [[c, c["x"]] for c in reply["configurations"]]})
    out, err = peer.close()
    assert out == b""
    assert peer.process.returncode == 0
    assert b"noise on standard output" in err and b"noise on descriptor 1" in err
    assert b"Traceback" not in err


def test_answers_come_in_order_and_in_batches(peer: Peer, start: dict[str, Any]) -> None:
    peer.send({**start, "problem": "problem.py:few"}, ask(1), ask(1), ask(5), ask(1))
    assert peer.receive() == {"op": "ready", "names": ["n"], "minimize": True}
    replies = [peer.receive() for _ in range(4)]
    assert [len(reply["configurations"]) for reply in replies] == [1, 1, 1, 0]
    assert [reply["exhausted"] for reply in replies] == [False, False, True, True]


def test_an_interrupt_from_the_terminal_is_the_drivers(peer: Peer, start: dict[str, Any]) -> None:
    peer.send(start)
    assert peer.receive() == READY
    peer.process.send_signal(signal.SIGINT)
    peer.send(ask(2))
    assert len(peer.receive()["configurations"]) == 2


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"search": "randon"}, "SearchError", "randon"),
        ({"problem": "missing.py"}, "LoadError", "missing.py"),
        ({"arguments": {"kappa": "1"}}, "SearchError", "kappa"),
        ({"op": "stop"}, "SearchError", "stop"),
        ({"op": "ask", "n": 1}, "SearchError", "start"),
    ],
)
def test_failures_are_told_and_end_it(
    peer: Peer, start: dict[str, Any], change: dict[str, Any], kind: str, words: str
) -> None:
    peer.send({**start, **change})
    reply = peer.receive()
    assert reply["op"] == "failed" and reply["kind"] == kind
    assert words in reply["message"]
    peer.process.wait(30)
    assert peer.process.returncode == 1


def test_the_end_of_input_ends_it_in_the_middle_of_a_fit(peer: Peer, start: dict[str, Any]) -> None:
    results = [[{"x": i / 3000}, float(i)] for i in range(3000)]
    peer.send({**start, "search": "ambs", "background": True}, {"op": "tell", "results": results}, ask(1))
    assert peer.receive() == READY
    assert peer.receive()["op"] == "proposed"
    out, err = peer.close()
    assert (out, peer.process.returncode) == (b"", 0)
    assert b"Traceback" not in err
