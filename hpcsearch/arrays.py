"""Arrays that run functions save: each is an HDF5 file of its own, ``arrays/<name>.h5`` in its evaluation's directory.

A file is made whole and never changed, so nothing has to be locked: neither when two processes save under one name
(the last one wins), nor when an array is read while the search runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcsearch.drafts import draft_of
from hpcsearch.errors import NotFoundError, UsageError

#: The one dataset in each file.
DATASET = "array"

_FOLDER, _ENDING = "arrays", ".h5"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def save(directory: Path, name: str, array: Any) -> None:
    """Saves an array in an evaluation's directory, in place of one of that name.

    Raises:
        UsageError: the name cannot name a file, or HDF5 knows no such type of array.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of an array: it becomes the name of a file.",
            "Use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
        )
    path = file_of(directory, name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with draft_of(path) as draft, h5py.File(draft, "x", locking=False) as file:
        try:
            values = np.asarray(array)
            file[DATASET] = values.astype(h5py.string_dtype()) if values.dtype.kind == "U" else values
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"The array {name!r} cannot be saved, because HDF5 knows no such values: {error}.",
                "Save an array of numbers, truth values or text; a tensor on a GPU needs .cpu() before.",
            ) from None


def read(directory: Path, name: str) -> np.ndarray[Any, Any]:
    """The array of that name in an evaluation's directory.

    Raises:
        NotFoundError: there is none.
    """
    try:
        with h5py.File(file_of(directory, name), "r", locking=False) as file:
            return values_of(file[DATASET])
    except FileNotFoundError:
        known = ", ".join(names(directory)) or "none"
        raise NotFoundError(
            f"Evaluation {directory.name} has saved no array {name!r} (arrays there: {known}).",
            "A run function saves one with hpcsearch.save_array(name, array).",
        ) from None


def values_of(dataset: h5py.Dataset) -> np.ndarray[Any, Any]:
    """The array in a dataset."""
    if h5py.check_string_dtype(dataset.dtype) and dataset.dtype.kind == "O":
        return np.asarray(dataset.asstr()[()], dtype=np.str_)
    return np.asarray(dataset[()])


def names(directory: Path) -> list[str]:
    """The names of the arrays in an evaluation's directory, in alphabetical order."""
    try:
        files = os.listdir(directory / _FOLDER)
    except FileNotFoundError:
        return []
    return sorted(file.removesuffix(_ENDING) for file in files if _NAME.match(file) and file.endswith(_ENDING))


def saved(evaluations: Path) -> Iterator[tuple[int, str]]:
    """(evaluation, name) of all arrays below the folder of the evaluations' directories."""
    directories = os.listdir(evaluations) if evaluations.is_dir() else ()
    for identity in sorted(int(name) for name in directories if name.isdecimal()):
        for name in names(evaluations / str(identity)):
            yield identity, name


def file_of(directory: Path, name: str) -> Path:
    """Where an array lies."""
    return directory / _FOLDER / f"{name}{_ENDING}"
