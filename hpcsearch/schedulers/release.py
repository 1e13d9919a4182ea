"""What giving nodes back comes to, on every scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


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


class Releases(Protocol):
    """How a scheduler takes nodes back."""

    def release(self, job_id: str, keep: Sequence[str], leave: Sequence[str], folder: Path) -> ReleaseOutcome:
        """Gives the hosts ``leave`` back; every refusal is an outcome, and nothing is raised for it."""

    def once(self) -> bool:
        """Whether it does so only once for a job."""

    def dead_too(self) -> bool:
        """Whether nodes that died have to be given back, for the job would be ended because of them."""


def refused(sentence: str, *, again: bool = False) -> ReleaseOutcome:
    return ReleaseOutcome(False, sentence, again)
