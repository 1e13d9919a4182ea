"""``hpcsearch why``: what the matter is, what became of it, and what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from hpcsearch.monitor import text
from hpcsearch.workflow.layout import Layout


@dataclass(frozen=True)
class Why:
    """An answer: the cause in one sentence, what happened then, and what to do, which may be nothing."""

    cause: str
    then: tuple[str, ...] = ()
    todo: str = ""

    def lines(self, width: int) -> Iterator[str]:
        for line in filter(None, (self.cause, *self.then, self.todo)):
            yield from textwrap.wrap(text.printable(line), width, break_on_hyphens=False) if width else [line]


def explain(layout: Layout, evaluation: int | None) -> Why:
    """Why an evaluation ended as it did; without one, why nothing runs on the workflow.

    Raises:
        NotFoundError: there is no such evaluation.
        DatabaseError: the database cannot be read.
    """
    from hpcsearch.monitor import why_evaluation, why_workflow

    if evaluation is None:
        return why_workflow.explain(layout)
    return why_evaluation.explain(layout, evaluation)


def as_sentence(words: str) -> str:
    """With a capital letter, and one full stop at the end."""
    words = " ".join(words.split()).rstrip(".")
    return f"{words[:1].upper()}{words[1:]}." if words else ""
