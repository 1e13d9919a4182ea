"""Names for the runs that TensorBoard lists: readable, short, and safe in a path.

This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import re
from typing import Any

from hpcsearch.evaluation import Configuration

#: No name is longer than this; file systems take 255 bytes, people read less.
LONGEST = 100

_VALUE_LONGEST = 24
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def run_name(configuration: Configuration) -> str:
    """``lr=0.00305,units=66``, by name; what does not fit is counted at the end (``,+3``). Empty without values."""
    pairs = [f"{_safe(name)}={_safe(_short(value))}" for name, value in sorted(configuration.items())]
    shown = len(pairs)
    while len(name := _joined(pairs, shown)) > LONGEST:
        shown -= 1
    return name.lstrip(".")  # which would hide it


def _joined(pairs: list[str], shown: int) -> str:
    rest = len(pairs) - shown
    return ",".join([*pairs[:shown], *([f"+{rest}"] if rest else [])])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _safe(text: str) -> str:
    text = _UNSAFE.sub("_", text)
    return text if len(text) <= _VALUE_LONGEST else f"{text[: _VALUE_LONGEST - 1]}~"
