"""A node's own storage: one folder for each allocation on each node, which goes with the last process that holds it.

Who uses the folder holds a shared lock beside it: the agent from its start to its end, and every process that has
copied something there. The kernel lets go of the lock of whoever dies. An agent that ends, and whoever copies, takes
away the folders that nobody holds any more: so what was killed leaves nothing for longer than until the next one.

    <storage>/hpcsearch-<uid>/<host>.<allocation>.lock
    <storage>/hpcsearch-<uid>/<host>.<allocation>/...

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import socket
import stat
from pathlib import Path

from hpcsearch.errors import HpcsearchError

#: Where to look for a node's own storage: the user's word, what sites set, and what every machine has. The scheduler's
#: variables are called so in evaluations.
VARIABLE = "HPCSEARCH_LOCAL"
_VARIABLES = (VARIABLE, "HPCSEARCH_SLURM_TMPDIR", "SLURM_TMPDIR", "HPCSEARCH_PBS_JOBFS", "PBS_JOBFS", "LOCAL_SCRATCH")


class StorageError(HpcsearchError):
    """A node's own storage that cannot be used, or has no room."""


def folder_of_user() -> Path:
    """The folder of this user's copies on this node, made when it is not there.

    Raises:
        StorageError: it cannot be made, or is not this user's alone.
    """
    places = [os.environ[name] for name in _VARIABLES if os.environ.get(name)]
    usable = next((place for place in places if os.access(place, os.W_OK)), None)
    folder = Path(usable or os.environ.get("TMPDIR") or "/tmp")
    folder /= f"hpcsearch-{os.getuid()}"
    hint = f"Name another folder on the node's own disk with ${VARIABLE}."
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise StorageError(f"The node's own folder {folder} cannot be made: {error.strerror}.", hint) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise StorageError(f"The node's own folder {folder} is not yours alone.", hint)
    return folder


class Held:
    """The folder of this node and allocation, held by this process until ``release``, or its end."""

    def __init__(self) -> None:
        user = folder_of_user()
        allocation = re.sub(r"[^A-Za-z0-9._-]", "_", os.environ.get("HPCSEARCH_SCHEDULER_ID") or "by-hand")
        self.folder = user / f"{socket.gethostname()}.{allocation}"
        self.pid = os.getpid()
        self._lock = _locked(_beside(self.folder))
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def release(self) -> None:
        """Lets go of the folder, and takes it away when nobody else holds it."""
        if self._lock >= 0 and self.pid == os.getpid():  # a fork's lock is its parent's
            lock, self._lock = self._lock, -1
            _remove_unless_held(self.folder, lock)
            os.close(lock)


def sweep() -> None:
    """Takes away what was left on this host by allocations of which nothing lives any more."""
    for file in folder_of_user().glob(f"{socket.gethostname()}.*.lock"):
        with contextlib.suppress(OSError):  # another one is about it
            lock = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            try:
                _remove_unless_held(file.with_suffix(""), lock)
            finally:
                os.close(lock)


class _Holding:
    held: Held | None = None


def hold() -> Path:
    """The folder of this node and allocation; this process holds it from now on.

    Raises:
        StorageError: there is no place for it.
    """
    held = _Holding.held
    if held is None or held.pid != os.getpid() or not held.folder.is_dir():
        try:
            held = _Holding.held = Held()
        except OSError as error:
            raise StorageError(
                f"The node's own storage cannot be used: {error.strerror} ({error.filename}).",
                f"Name another folder on the node's own disk with ${VARIABLE}.",
            ) from None
        atexit.register(held.release)
    return held.folder


def release() -> None:
    """Lets go of the folder, if this process holds it, and sweeps."""
    held, _Holding.held = _Holding.held, None
    if held is not None:
        with contextlib.suppress(OSError, StorageError):  # what cannot be removed now is swept by the next one
            held.release()
            sweep()


def _beside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _locked(file: Path) -> int:
    """A shared lock on the file of this name: not on one that was taken away while it was waited for."""
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), file.stat()):
                return lock
        os.close(lock)


def _remove_unless_held(folder: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    file = _beside(folder)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(lock), file.stat()):  # else it was taken away, and may be somebody's again
            import shutil  # which few nodes need

            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                file.unlink()
