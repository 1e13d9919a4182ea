"""A progress bar in a notebook: one output that is shown anew, so that only its last state is kept in the file."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """How far something is: ``done`` of ``total``, which may be unknown."""

    done: int
    total: int | None
    text: str

    def __repr__(self) -> str:
        return f"{self.done} of {self.total}, {self.text}" if self.total else f"{self.done}, {self.text}"

    def _repr_html_(self) -> str:
        far = f' max="{self.total}"' if self.total else ""
        return f'<progress value="{self.done}"{far}></progress> {html.escape(repr(self))}'


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this code."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class Shown:
    """The bar in the output of the cell that runs."""

    def __init__(self) -> None:
        from IPython.display import display

        self._shown = Bar(0, None, "waiting for the first result")
        show: Any = display
        self._handle = show(self._shown, display_id=True)

    def show(self, bar: Bar) -> None:
        """Shows this instead."""
        if bar != self._shown:
            self._shown = bar
            self._handle.update(bar)
