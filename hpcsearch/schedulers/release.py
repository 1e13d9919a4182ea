"""What giving nodes back comes to, on every scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReleaseOutcome:
    """The scheduler's answer to nodes that an allocation gives back.

    ``sentence`` says why they were not released. ``again`` is whether a later try may succeed.
    ``environment`` is what launchers of the allocation need from now on: a variable's value, or None to unset it.
    """

    released: bool
    sentence: str = ""
    again: bool = False
    environment: Mapping[str, str | None] = field(default_factory=dict)


def refused(sentence: str, *, again: bool = False) -> ReleaseOutcome:
    return ReleaseOutcome(False, sentence, again)
