"""What the machine refuses a command wherever it happens to be: no space, no folder to be in."""

from __future__ import annotations

import errno
import os

from hpcsearch.errors import DatabaseError, HpcsearchError, NotFoundError

#: What can meet any write, and is no fault of the program's.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def as_sentence(error: OSError) -> HpcsearchError | None:
    """The error as it is told to the user; None for one that its place in the program should have foreseen."""
    if error.errno in _NO_ROOM:
        what = "What is printed" if error.filename is None else os.fsdecode(error.filename)
        return DatabaseError(f"{what} cannot be written: {error.strerror}.", "Make room there, or write elsewhere.")
    if error.errno == errno.ENOENT and (error.strerror or "").startswith("No usable temporary directory"):
        return DatabaseError(f"{error.strerror}.", "Make room in one, or set TMPDIR to a folder that you can write to.")
    if isinstance(error, FileNotFoundError) and _nowhere():
        return NotFoundError("The current folder is gone: it was removed or moved.", "Type 'cd' to one that is there.")
    return None


def _nowhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - what pathlib asks, too
    except FileNotFoundError:
        return True
    return False
