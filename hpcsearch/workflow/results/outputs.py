"""Files that a person asked for by name: refused before any work is done, and whole when they are there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcsearch.drafts import draft_of
from hpcsearch.errors import UsageError


def checked_ending(path: Path, endings: Collection[str], force: bool) -> str:
    """The ending of a file that is to be written, in lower case.

    Raises:
        UsageError: it is none of ``endings``, the folder is not there, or the file is and ``force`` is not given.
    """
    ending = path.suffix.lower()
    if ending not in endings:
        known = f"there is none for {ending}" if ending else "it has none"
        raise UsageError(
            f"{path} cannot be written: the ending of a file's name tells its format, and {known}.",
            f"Give a name that ends in {', '.join(endings)}.",
        )
    # Those of os.path answer no where pathlib raises: a name that is too long, a folder that is closed.
    if not os.path.isdir(path.parent):  # noqa: PTH112
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}.", "Make it, or give another.")
    ordinary = os.path.isfile(path)  # noqa: PTH113
    if os.path.exists(path) and not (force and ordinary):  # noqa: PTH110
        hint = "Give another name, or --force to write over it." if ordinary else "Give another name."
        raise UsageError(f"{path} exists already.", hint)
    return ending


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """What the block writes to, which then takes the name ``path``.

    Raises:
        UsageError: it cannot be written; what was there before still is.
    """
    try:
        with draft_of(path.resolve()) as draft:
            yield draft
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {_reason(error)}.", "Give a file in a folder that you can write to."
        ) from None


def _reason(error: OSError) -> str:
    # That of HDF5 is an essay, that of Arrow has no number
    return os.strerror(error.errno) if error.errno else str(error)
