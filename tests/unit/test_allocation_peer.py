"""Child processes that speak JSON lines with the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_bed
import pytest

from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.peer import Peer
from hpcsearch.worker.processes import descendants

ECHO = "import sys\nfor line in sys.stdin:\n    sys.stdout.write(line)\n    sys.stdout.flush()"
SLOW = "import sys, time\ntime.sleep(0.2)\nprint(len(sys.stdin.readline()), flush=True)\nsys.stdin.read()"
DEAF = "import time\nprint('[\"up\"]', flush=True)\ntime.sleep(600)"
LIMIT_S = 20.0


class Bed:
    """A loop, its peers, and what they told."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.loop.children.update(descendants(os.getpid()))  # what is none of ours
        self.told: list[Any] = []
        self.ended = 0
        self.peers: list[Peer] = []

    def start(self, code: str, environment: dict[str, str] | None = None) -> Peer:
        def end() -> None:
            self.ended += 1

        self.peers.append(Peer(self.loop, [sys.executable, "-c", code], self.told.append, end, environment))
        return self.peers[-1]

    def until(self, reached: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LIMIT_S
        while not reached():
            assert time.monotonic() < end_s, f"it did not come; told: {self.told}"
            self.loop.call_later(0.05, lambda: None)
            self.loop.turn()


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    for peer in made.peers:
        peer.stop(0.0)


def test_messages_go_and_come_in_order(bed: Bed) -> None:
    peer = bed.start(ECHO)
    messages = [{"number": number, "text": "ü\n" * 100} for number in range(500)]
    for message in messages:
        peer.send(message)
    bed.until(lambda: len(bed.told) == 500)
    assert bed.told == messages
    assert peer.stop(LIMIT_S) == 0
    assert bed.ended == 0  # it was not its own end


def test_a_slow_reader_holds_nobody_up(bed: Bed) -> None:
    peer = bed.start(SLOW)
    started_s = time.monotonic()
    peer.send("x" * 1_000_000)
    assert time.monotonic() - started_s < 0.15
    bed.until(lambda: bool(bed.told))
    assert bed.told == [1_000_003]


def test_its_end_is_told_once_and_what_it_said_before(bed: Bed) -> None:
    peer = bed.start("import sys\nprint('[1]\\n[2]')\nsys.exit(3)")
    bed.until(lambda: bed.ended > 0)
    assert bed.told == [[1], [2]] and bed.ended == 1 and peer.ended
    peer.send("nobody is there")
    assert peer.stop(LIMIT_S) == 3
    assert peer.process.pid not in bed.loop.children


def test_sending_to_one_that_has_gone_is_no_error(bed: Bed) -> None:
    peer = bed.start(DEAF)
    bed.until(lambda: bed.told == [["up"]])
    peer.process.kill()
    peer.process.wait()
    for _ in range(3):
        peer.send("x" * 200_000)
    bed.until(lambda: bed.ended == 1)
    assert peer.stop(0.0) == -signal.SIGKILL


def test_one_that_does_not_end_is_killed(bed: Bed) -> None:
    peer = bed.start(DEAF)
    bed.until(lambda: bed.told == [["up"]])
    started_s = time.monotonic()
    assert peer.stop(0.05) == -signal.SIGKILL
    assert time.monotonic() - started_s < 5.0


def test_it_is_out_of_reach_of_the_terminal(bed: Bed) -> None:
    peer = bed.start("import os\nprint(int(os.getpgid(0) == os.getpid()), flush=True)")
    bed.until(lambda: bed.told == [1])
    assert peer.stop(LIMIT_S) == 0


def test_an_environment_of_its_own(bed: Bed) -> None:
    bed.start("import json, os\nprint(json.dumps(os.environ.get('MINE')), flush=True)", {"MINE": "yes"})
    bed.until(lambda: bed.told == ["yes"])


ORPHANS = """\
import os, sys
from hpcsearch.allocation.loop import Loop
from hpcsearch.allocation.peer import Peer
from hpcsearch.worker.processes import become_subreaper

sys.path.insert(0, sys.argv[1])
from process_bed import alive

become_subreaper()
loop = Loop()
child = (
    "import subprocess\\n"
    "orphan = subprocess.Popen(['sleep', '600'], start_new_session=True, stdout=2)\\n"
    "print(orphan.pid, flush=True)"
)
told = []
kept = Peer(loop, [sys.executable, "-c", "import sys; sys.stdin.read()"], told.append, lambda: None)
peer = Peer(loop, [sys.executable, "-c", child], told.append, lambda: told.append("end"))
while "end" not in told:
    loop.turn()
assert alive(told[0])
peer.stop(5.0)
assert not alive(told[0])
assert kept.process.poll() is None
assert kept.stop(5.0) == 0
"""


def test_what_it_leaves_behind_is_ended_and_other_peers_live(bed: Bed) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(Path(process_bed.__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
