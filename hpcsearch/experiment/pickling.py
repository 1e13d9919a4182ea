"""Pickling what a user hands over, where an error is worth a sentence."""

from __future__ import annotations

from typing import Any

import cloudpickle

from hpcsearch.errors import UsageError
from hpcsearch.reference import text_of


def pickled(value: Any, what: str) -> bytes:
    """``value`` as bytes, functions of notebooks and scripts included.

    Raises:
        UsageError: it, or something that it refers to, cannot be pickled.
    """
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:  # noqa: BLE001 - whatever some object's own pickling raises
        raise UsageError(
            f"{what} cannot be sent to other processes: {text_of(error)}.",
            "Let the function make or open such objects itself, instead of taking them from outside.",
        ) from None
