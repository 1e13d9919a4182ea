"""What a submission prints while it goes: one line for each step, ended by OK, and the facts at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO


class Steps:
    """Prints steps to ``out``; to nowhere when it is None."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out

    def say(self, text: str = "", end: str = "\n") -> None:
        if self._out is not None:
            print(text, end=end, file=self._out, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """``title...`` now, and ``OK`` behind it when the block ends well."""
        self.say(f"{title}...", end="")
        try:
            yield
        except BaseException:
            self.say("failed")
            raise
        self.say("OK")


def facts_block(facts: Mapping[str, Any]) -> str:
    """The facts of a submitted allocation, sorted by name, one a line."""
    lines = ",\n    ".join(f"{name!r}: {facts[name]!r}" for name in sorted(facts))
    return f"Submit OK: Allocation {{   {lines}}}"


def banner(text: str) -> str:
    """``text`` between two lines of stars."""
    stars = "*" * (len(text) + 4)
    return f"{stars}\n {text}\n{stars}"
