"""Process trees on Linux: who descends from whom, and ending all of them.

A process that calls ``become_subreaper`` stays the ancestor of everything below it: what double-forks, or calls
setsid, is handed to it when its own parent ends, and can still be found through /proc.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NAME = 15


def _prctl(option: int, value: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl option {option} failed")


def become_subreaper() -> None:
    """From now on this process inherits its orphaned descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, also if the parent (``parent``) has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def name_process(name: str) -> None:
    """Sets the name that ps and top show (at most 15 bytes)."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/<pid>/stat behind the command's name: state, parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()


def descendants(root: int, spare: frozenset[int] = frozenset()) -> list[int]:
    """All living processes below ``root``, found through /proc; ``root`` itself is not among them.

    Neither are ``spare`` and what is below those, whatever they start meanwhile.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields is not None and fields[0] not in (b"Z", b"X"):
                children[int(fields[1])].append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = [pid for pid in children[queue.pop()] if pid not in spare]
        found += below
        queue += below
    return found


def has_children() -> bool:
    """Whether this process has any child, also one that has ended and is not reaped; of a subreaper: any descendant."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def send(pid: int, signal_number: int) -> None:
    """Sends a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return


def kill_descendants(root: int, spare: frozenset[int] = frozenset(), limit_s: float = 5.0) -> None:
    """Kills everything below ``root`` until nothing is left, but for ``spare`` and what descends from those."""
    _kill_all(lambda: descendants(root, spare), limit_s)


def reaped() -> Iterator[tuple[int, int]]:
    """The children that have ended, with their wait statuses; reaps them, and waits for none."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def reap_children(limit_s: float) -> None:
    """Takes the exit status of all children, until none is left: what is not reaped stays as a zombie."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.002)


def kill_tree(root: int) -> None:
    """Kills ``root`` (a subreaper) and everything below it. ``root`` must be a child of the caller, who reaps it.

    Where it leads a process group, that dies at one blow: one by one, a chain of processes each of which ends as soon
    as it has forked the next could not be caught.
    """
    send(root, signal.SIGSTOP)
    kill_descendants(root)
    with suppress(ProcessLookupError):
        if os.getpgid(root) == root:
            os.killpg(root, signal.SIGKILL)
    send(root, signal.SIGKILL)


def kill_marked(variable: str, value: str, limit_s: float = 5.0) -> None:
    """Kills all processes of this user that were started with a variable of this value, until none is left."""
    entry = f"{variable}={value}\0".encode()
    _kill_all(lambda: [pid for pid in _own_processes() if entry in _environment(pid)], limit_s)


def _kill_all(find: Callable[[], list[int]], limit_s: float) -> None:
    """Kills what is found until nothing is; first it is stopped, so that it starts nothing new meanwhile."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        victims = find()
        if not victims:
            return
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                send(pid, signal_number)
        time.sleep(0.002)


def _own_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _environment(pid: int) -> bytes:
    """What a process was started with; nothing for another user's, or one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:
        return b""
