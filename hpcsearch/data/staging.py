"""Copying to a node's own storage once, however many processes ask for it, and whichever of them is killed in between.

A copy has a folder of its own, named for the source and for what it was: its size and time. It is made under another
name and gets this one when it is whole, so that whoever sees it can use it. One process copies at a time; the others
wait at a lock, which the kernel takes from whoever dies.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcsearch.data.sources import Source, State
from hpcsearch.errors import HpcsearchError
from hpcsearch.worker.storage import VARIABLE, StorageError, hold, sweep

#: How often what changes while it is copied is copied again.
_ATTEMPTS = 3

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def staged(source: Source) -> str:
    """The path of a source's copy on this node.

    Raises:
        HpcsearchError: it is not there, cannot be read, keeps changing, or there is no room for it.
    """
    node, own = hold(), _digest(str(source))
    state = source.look()
    for _ in range(_ATTEMPTS):
        copy = node / _digest(str(source), state.mark) / source.name
        if copy.exists():
            return str(copy)
        with _alone(node / f"{own}.lock"):
            if copy.exists() or _copied(source, state, copy, draft=node / f"{own}.part"):
                return str(copy)
        state = source.look()
    raise HpcsearchError(
        f"{source} changes while it is copied; {_ATTEMPTS} attempts came to nothing.",
        "Copy it when nobody writes to it.",
    )


def _copied(source: Source, state: State, copy: Path, draft: Path) -> bool:
    """Whether it was still the same after copying; if not, nothing is left."""
    shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
    sweep()
    free = shutil.disk_usage(draft.parent).free
    if state.size > free:
        raise _no_room(source, state, draft, free)
    try:
        draft.mkdir(mode=0o700)
        source.fetch(draft / source.name)
        if source.look() != state:
            return False
        draft.rename(copy.parent)
    except OSError as error:
        if error.errno in _NO_ROOM or _is_shortage(error):
            raise _no_room(source, state, draft, shutil.disk_usage(draft.parent).free) from None
        raise HpcsearchError(f"{source} cannot be copied to {draft.parent}: {error}.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _is_shortage(error: OSError) -> bool:
    """Whether what could not be copied of a folder was for want of room: shutil has the reasons as text."""
    reasons = {os.strerror(number) for number in _NO_ROOM}
    return isinstance(error, shutil.Error) and any(reason in str(error) for reason in reasons)


def _no_room(source: Source, state: State, draft: Path, free: int) -> StorageError:
    return StorageError(
        f"There is no room for {source} ({_megabytes(state.size)}) in {draft.parent}: {_megabytes(free)} are free.",
        f"Name a folder with more room with ${VARIABLE}, or read the data where they are.",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
