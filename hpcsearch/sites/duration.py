"""Durations as schedulers write them: ``H:MM:SS``, ``D-HH:MM:SS``."""

from __future__ import annotations

import re

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d)")


def parse_duration(text: str) -> int:
    """Seconds in ``H:MM:SS`` or ``D-HH:MM:SS``; raises ValueError for anything else."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration like 1:30:00 or 2-00:00:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.group("days", "hours", "minutes", "seconds"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def format_duration(duration_s: int) -> str:
    """``H:MM:SS``; hours go on counting beyond a day, which Slurm and PBS both read."""
    minutes, seconds = divmod(max(0, duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
