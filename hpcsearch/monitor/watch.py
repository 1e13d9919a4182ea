"""Looking at a workflow again and again: what is new is read, and the scheduler asked as seldom as its site wants."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hpcsearch.errors import DatabaseError, HpcsearchError
from hpcsearch.monitor.allocations import Heard
from hpcsearch.monitor.feed import Feed
from hpcsearch.monitor.snapshot import Snapshot, hear_schedulers, take_snapshot
from hpcsearch.monitor.tally import Tally
from hpcsearch.sites.load import read_site
from hpcsearch.sites.model import Site
from hpcsearch.workflow import queries
from hpcsearch.workflow.database import reading
from hpcsearch.workflow.layout import Layout


@dataclass(frozen=True)
class Picture:
    """A workflow at one moment, with all its evaluations."""

    snapshot: Snapshot
    tally: Tally  # it goes on counting: what is shown of it is taken out at once


class Ears:
    """What the schedulers say of a workflow, asked anew once the interval of its site is over.

    What they said before an allocation's driver began or ended holds no more then: it is judged again, by what the
    schedulers said last, which is no question to them.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._heard: Heard = {}
        self._states: list[tuple[int, str]] = []
        self._next_s = 0.0

    def heard(self) -> Heard:
        now_s, states = time.monotonic(), self._read_states()
        if now_s >= self._next_s or states != self._states:
            self._states = states
            self._heard = hear_schedulers([self._layout]).get(self._layout, {})
            self._next_s = now_s + poll_interval_s(self._layout)
        return self._heard

    def _read_states(self) -> list[tuple[int, str]]:
        try:
            with reading(self._layout.database) as connection:
                return [(row["number"], row["state"]) for row in queries.allocation_rows(connection)]
        except DatabaseError:  # whoever looks at it next is told
            return self._states


class Watch:
    """Takes one picture of a workflow after the other."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._feed = Feed(layout)
        self._ears = Ears(layout)

    def look(self) -> Picture:
        """Raises DatabaseError when the database cannot be read."""
        heard = self._ears.heard()
        self._feed.refresh()
        return Picture(take_snapshot(self.layout, heard, tally=self._feed.tally), self._feed.tally)


def poll_interval_s(layout: Layout) -> float:
    """How seldom the scheduler of a workflow's latest allocation wants to be asked."""
    numbers = [int(folder.name) for folder in layout.root.glob("allocations/*") if folder.name.isdecimal()]
    try:
        return float(read_site(layout.allocation(max(numbers)) / "site.json").poll_interval_s)
    except (ValueError, HpcsearchError):  # it has none yet, or no readable one
        return float(Site.poll_interval_s)
