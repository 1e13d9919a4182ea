"""Process trees: finding and ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from process_bed import alive

from hpcsearch.worker import processes

#: Builds a tree below a subreaper and prints its pids: a child, one that called setsid, and one that double-forked.
TREE = """\
import os, sys, time
from hpcsearch.worker.processes import become_subreaper

become_subreaper()
read, write = os.pipe()

def leaf(setsid, deeper=False):
    if os.fork() == 0:
        if setsid:
            os.setsid()
        if deeper and os.fork():
            os._exit(0)
        os.write(write, f"{os.getpid()} ".encode())
        time.sleep(600)

leaf(False)
leaf(True)
leaf(True, deeper=True)
if sys.argv[1:] == ["forking"]:
    if os.fork() == 0:
        end = time.monotonic() + 3
        while time.monotonic() < end:  # each generation ends at once
            if os.fork():
                os._exit(0)
os.wait()
pids = b""
while pids.count(b" ") < 3:
    pids += os.read(read, 100)
print(pids.decode(), flush=True)
time.sleep(600)
"""


def start_tree(*arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    tree = subprocess.Popen(
        [sys.executable, "-c", TREE, *arguments], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert tree.stdout is not None
    return tree, [int(pid) for pid in tree.stdout.readline().split()]


def finish(tree: subprocess.Popen[str]) -> None:
    processes.kill_tree(tree.pid)
    tree.wait()
    assert tree.stdout is not None
    tree.stdout.close()


def test_descendants_are_found_also_those_in_sessions_of_their_own() -> None:
    tree, pids = start_tree()
    try:
        assert len(pids) == 3
        assert set(processes.descendants(tree.pid)) == set(pids)
        assert set(pids) | {tree.pid} <= set(processes.descendants(os.getpid()))
    finally:
        finish(tree)


def test_a_whole_tree_is_killed() -> None:
    tree, pids = start_tree("forking")
    finish(tree)
    assert tree.returncode == -signal.SIGKILL
    assert not any(alive(pid) for pid in pids)
    assert processes.descendants(tree.pid) == []


def test_what_is_spared_lives_with_all_below_it() -> None:
    tree, pids = start_tree()
    try:
        processes.kill_descendants(tree.pid, spare=frozenset(pids[:1]))
        assert processes.descendants(tree.pid) == pids[:1]
    finally:
        finish(tree)
    other, below = start_tree()
    try:
        all_here = frozenset(processes.descendants(os.getpid())) - frozenset(below)
        processes.kill_descendants(os.getpid(), spare=all_here)
        assert all(alive(pid) for pid in below)
    finally:
        finish(other)


def test_killing_gives_up_after_its_limit() -> None:
    tree, pids = start_tree()
    try:
        started_s = time.monotonic()
        processes.kill_descendants(tree.pid, limit_s=0.0)
        assert time.monotonic() - started_s < 1.0
        assert all(alive(pid) for pid in pids)
    finally:
        finish(tree)


def test_signals_to_what_has_ended_are_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    processes.send(child.pid, signal.SIGKILL)


def in_a_process_named(name: str, code: str) -> str:
    """What ``code`` prints in a process of that name."""
    whole = f"import os\nfrom hpcsearch.worker import processes\nprocesses.name_process({name!r})\n{code}"
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True).stdout.strip()


def test_a_name_with_parentheses_and_spaces_is_read() -> None:
    assert in_a_process_named("a) R 1 (b", "print(os.getpid() in processes.descendants(os.getppid()))") == "True"


def test_processes_are_named() -> None:
    assert in_a_process_named("hpcsearch-much-too-long", "print(open('/proc/self/comm').read())") == "hpcsearch-much-"


ORPHAN = """\
import os, sys, time
from hpcsearch.worker.processes import die_with_parent

parent = os.getpid()
if os.fork() == 0:
    die_with_parent(parent if sys.argv[1] == "lives" else 1 << 22)
    print(os.getpid(), flush=True)
    time.sleep(600)
if sys.argv[1] == "lives":
    sys.stdin.read()
else:
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, "lives"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None and parent.stdin is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    until_s = time.monotonic() + 5.0
    while alive(child) and time.monotonic() < until_s:
        time.sleep(0.005)
    assert not alive(child)


def test_a_process_whose_parent_has_gone_already_ends_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN, "gone"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{-signal.SIGKILL}\n"


REAP = """\
import os, time
from hpcsearch.worker.processes import reap_children

for delay_s in (0.0, 0.05):
    if os.fork() == 0:
        time.sleep(delay_s)
        os._exit(0)
reap_children(5.0)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none left")
if os.fork() == 0:
    time.sleep(0.5)
    os._exit(0)
started_s = time.monotonic()
reap_children(0.05)
print(time.monotonic() - started_s < 0.4)
"""


def test_children_are_reaped_within_a_limit() -> None:
    done = subprocess.run([sys.executable, "-c", REAP], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["none left", "True"]


def test_a_kernel_that_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="prctl option -1"):
        processes._prctl(-1, 0)


def test_this_machine_shows_its_processes() -> None:
    assert Path("/proc/self/stat").exists()


def test_whether_there_are_children() -> None:
    code = (
        "import functools, os, time\n"
        "print = functools.partial(print, flush=True)\n"
        "from hpcsearch.worker.processes import become_subreaper, has_children\n"
        "become_subreaper()\n"
        "print(has_children())\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait()\n"  # the grandchild is now a child
        "print(has_children())\n"
        "from hpcsearch.worker.processes import kill_descendants\n"
        "kill_descendants(os.getpid())\n"
        "print(has_children())\n"  # a zombie is one, too
        "os.wait()\n"
        "print(has_children())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True", "True", "False"]


#: A process without end that forks children, each of which stays a moment and ends well, or says that it was killed.
FORKING = """\
import os, subprocess, sys, time

end = time.monotonic() + 3
while time.monotonic() < end:
    if subprocess.run(["sleep", "0.001"]).returncode != 0:
        sys.exit("a child was killed")
"""


def test_what_a_spared_process_starts_meanwhile_is_spared() -> None:
    """A child that it forks between two looks at /proc was taken for one of nobody's."""
    forking = subprocess.Popen([sys.executable, "-c", FORKING])
    while forking.poll() is None:
        processes.kill_descendants(os.getpid(), spare=frozenset({forking.pid}))
    assert forking.returncode == 0
