"""Columns of plain values as HDF5 datasets: chunked, compressed, of a type that other languages read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from hpcsearch.workflow.results.kinds import Kind, kind_of

#: Longer text than this has no fixed length in the file.
_FIXED_BYTES = 255

#: Kind -> the type where no value is missing.
_TYPES = {Kind.INTEGER: np.int64, Kind.NUMBER: np.float64, Kind.BOOLEAN: np.bool_}


def add_numbers(group: h5py.Group, name: str, values: Sequence[float | None], units: str = "") -> h5py.Dataset:
    """Numbers, NaN for None."""
    return _create(group, name, np.array(values, dtype=np.float64), units)


def add_counts(group: h5py.Group, name: str, values: Sequence[int | None]) -> h5py.Dataset:
    """Whole numbers that are never negative, -1 for None."""
    return _create(group, name, np.array([-1 if value is None else value for value in values], dtype=np.int64))


def add_text(group: h5py.Group, name: str, values: Sequence[str | None]) -> h5py.Dataset:
    """Text in UTF-8, empty for None."""
    texts = [utf8(value or "") for value in values]
    width = max(map(len, texts), default=0) or 1
    fixed = width <= _FIXED_BYTES
    return _create(group, name, np.array(texts, dtype=h5py.string_dtype("utf-8", width if fixed else None)))


def add_column(group: h5py.Group, name: str, values: Sequence[Any]) -> h5py.Dataset:
    """A column of whatever values, of the type that fits them; attributes tell its name and kind.

    Where a value is missing there is NaN, so that whole numbers and truth values become floats, or an empty text.
    Columns of several types, and of lists, are JSON text.
    """
    kind = kind_of(values)
    place = escaped(name)
    if kind is Kind.TEXT:
        dataset = add_text(group, place, values)
    elif kind is Kind.MIXED:
        dataset = add_text(group, place, [None if value is None else json.dumps(value) for value in values])
    elif None in values:
        dataset = add_numbers(group, place, values)
    else:
        dataset = _create(group, place, np.array(values, dtype=_TYPES[kind]))
    dataset.attrs.update({"name": utf8(name).decode(), "kind": kind.value})
    return dataset


def add_mask(group: h5py.Group, name: str, values: Sequence[bool]) -> h5py.Dataset:
    """Truth values, by the same name as a column's."""
    return _create(group, escaped(name), np.array(values, dtype=np.bool_))


def utf8(text: str) -> bytes:
    """A text as HDF5 can have it: it ends there at its first NUL, and not all that Python takes for text is UTF-8."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")


def escaped(name: str) -> str:
    """A name as HDF5 can have it: a slash divides groups there, and a dot alone is the group itself."""
    name = utf8(name).decode().replace("%", "%25").replace("/", "%2F")
    return "%2E" if name == "." else name


def _create(group: h5py.Group, name: str, data: np.ndarray[Any, Any], units: str = "") -> h5py.Dataset:
    # An unlimited shape, since an empty dataset of a fixed one cannot have chunks.
    dataset = group.create_dataset(name, data=data, chunks=True, maxshape=(None,), compression="gzip", shuffle=True)
    if units:
        dataset.attrs["units"] = units
    return dataset
