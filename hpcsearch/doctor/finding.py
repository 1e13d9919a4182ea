"""What one check comes to."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """Well; worth a look, though searches run; or no search can run."""

    OK = "OK"
    LOOK = "look"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Finding:
    """A check's title, its verdict, what was found, and what to do about it."""

    title: str
    verdict: Verdict
    text: str
    advice: str = ""


def ok(title: str, text: str) -> Finding:
    return Finding(title, Verdict.OK, text)


def look(title: str, text: str, advice: str) -> Finding:
    return Finding(title, Verdict.LOOK, text, advice)


def failed(title: str, text: str, advice: str) -> Finding:
    return Finding(title, Verdict.FAILED, text, advice)
