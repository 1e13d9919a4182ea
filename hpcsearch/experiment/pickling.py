"""Pickling what a user hands over, where an error is worth a sentence."""

from __future__ import annotations

import functools
import io
import sys
from typing import Any

import cloudpickle

from hpcsearch.errors import UsageError
from hpcsearch.experiment.function import cached
from hpcsearch.reference import text_of


def pickled(value: Any, what: str) -> bytes:
    """``value`` as bytes, functions of notebooks and scripts included.

    Raises:
        UsageError: it, or something that it refers to, cannot be pickled.
    """
    file = io.BytesIO()
    try:
        _Pickler(file).dump(value)
    except Exception as error:  # noqa: BLE001 - whatever some object's own pickling raises
        raise UsageError(
            f"{what} cannot be sent to other processes: {text_of(error)}.",
            "Let the function make or open such objects itself, instead of taking them from outside.",
        ) from None
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # which has no types
    """cloudpickle's, that takes functions with ``functools.cache`` from notebooks, too."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, functools._lru_cache_wrapper) and not _is_importable(value):
            return cached, (value.__wrapped__, value.cache_parameters())
        return super().reducer_override(value)


def _is_importable(function: Any) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function and function.__module__ != "__main__"
