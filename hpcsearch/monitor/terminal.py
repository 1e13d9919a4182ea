"""``hpcsearch monitor`` on a terminal.

Textual draws it: it sends what has changed and nothing else, which is what a slow connection wants, and brings tables,
windows and keys. It costs a quarter of a second to import, which this command alone pays. What is shown is read in a
thread, so that keys are answered while a slow file system or scheduler is not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from hpcsearch.errors import HpcsearchError
from hpcsearch.monitor import evaluations, occupancy, output, panels, text
from hpcsearch.monitor.allocations import AllocationView
from hpcsearch.monitor.cancelling import cancel, known, stop
from hpcsearch.monitor.detail import read_detail
from hpcsearch.monitor.detail_view import detail_lines
from hpcsearch.monitor.plot import plot
from hpcsearch.monitor.rows import Rows
from hpcsearch.monitor.watch import Picture, Watch
from hpcsearch.monitor.why import explain
from hpcsearch.monitor.windows import Choice, LogWindow, Page, Question
from hpcsearch.workflow.layout import Layout

#: So many evaluations are in the table at once; sorting brings others there.
ROWS = 200
#: The share of a core that the view takes on a login node; to keep to it, it comes so many seconds late at most.
SHARE, LONGEST_S = 0.06, 15.0
#: A terminal of so many columns has a panel for failures, too.
WIDE = 120

KEYS = "1-5 tables  s sort  r reverse  Enter details  l log  w why  x stop  c cancel  ? help  q quit"
KEYS_NARROW = "1-5 tables s sort r reverse Enter more l log w why x stop c cancel ? help q quit"

HELP = """\
1 2 3 4 5   the table: recent, running, best, failed, all
arrows      through the table; left and right where it is wider than the screen
s           sort by any hyperparameter, metric or column
r           the other way round
Enter       everything that is known of the evaluation at the cursor
l           what it prints, as it comes
d           what the driver prints, as it comes
w           why that evaluation failed
W           why nothing runs, or what runs
f           failures by error in the place of the nodes, and back
x           stop: what runs goes on to its end, nothing more begins; it asks first
c           cancel: end the allocations at once; it asks first
q           leave; the search goes on

What is shown is read from the workflow's database; nothing is changed there.
The scheduler is asked as seldom as the site wants. Where the end is a range,
it spans the pace of this whole allocation and that of its latter half.
""".splitlines()


#: What ends a search: what is done, and what is asked before.
ENDINGS: Mapping[str, tuple[Callable[[Layout, Sequence[AllocationView]], Iterator[str]], str]] = {
    "Stop": (stop, "Start nothing more, and let what runs end?"),
    "Cancel": (cancel, "End at once, with what runs?"),
}


class _Panels(Horizontal):
    """Plot, nodes and failures: how high they are depends on what stands above them."""

    def __init__(self, draw: Callable[[], None]) -> None:
        super().__init__(*(Static(Content(""), id=name) for name in ("plot", "nodes", "errors")), id="panels")
        self._draw_parts = draw

    def on_resize(self) -> None:
        self._draw_parts()


class Monitor(App[None]):
    """The view of one workflow."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layers: base; }
    .title { height: 1; text-style: bold reverse; width: 100%; }
    #facts { height: auto; }
    #panels { height: 1fr; max-height: 14; min-height: 4; }
    #panels > Static { width: 1fr; height: 100%; padding-right: 1; }
    #tables { height: 1; text-style: bold; }
    DataTable { height: 2fr; }
    #keys { height: 1; dock: bottom; text-style: dim; }
    Page, LogWindow, Choice { background: ansi_default; }
    OptionList { height: 1fr; }
    Question { align: center middle; }
    #question { width: auto; max-width: 90%; height: auto; border: heavy; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"table('{key}')", table.name) for key, table in evaluations.TABLES.items()),
        Binding("s", "sort", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("l", "log", "log"),
        Binding("d", "driver", "driver"),
        Binding("w", "why(True)", "why"),
        Binding("W", "why(False)", "why nothing runs"),
        Binding("x", "end('Stop')", "stop"),
        Binding("c", "end('Cancel')", "cancel"),
        Binding("f", "failures", "failures"),
        Binding("question_mark,h", "help", "help"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),  # from every window
    ]

    def __init__(self, layout: Layout, interval_s: float) -> None:
        super().__init__()
        self._layout = layout
        self._watch = Watch(layout)
        self._interval_s = interval_s
        self._first = True
        self._spent_s = time.process_time()
        self._picture: Picture | None = None
        self._table = evaluations.table("1", minimize=False)
        self._failures = False

    def compose(self) -> ComposeResult:
        yield Static(Content(f"{self._layout.name}: reading ..."), id="title", classes="title")
        yield Static(Content(""), id="facts")
        yield _Panels(self._draw_panels)
        yield Static(Content(""), id="tables")
        yield Rows()
        yield Static(Content(KEYS), id="keys")

    def on_mount(self) -> None:
        self.theme = "ansi-dark"  # the colours that the terminal's user has chosen
        self.animation_level = "none"
        self._look()

    # ---- what is new

    @work(thread=True)
    def _look(self) -> None:
        try:
            picture = self._watch.look()
        except HpcsearchError as error:
            self.call_from_thread(self._tell, error.message)
        else:
            self.call_from_thread(self._take, picture)

    def _take(self, picture: Picture) -> None:
        self._picture = picture
        self._draw()
        self._look_later()

    def _tell(self, sentence: str) -> None:
        self._update("title", f"{self._layout.name}: {sentence}")
        self._look_later()

    def _look_later(self) -> None:
        """Looks again after the interval; later where looking costs much, as with very many evaluations."""
        spent_s, self._spent_s = time.process_time() - self._spent_s, time.process_time()
        wait_s = self._interval_s if self._first else max(self._interval_s, min(LONGEST_S, spent_s / SHARE))
        self._first = False
        self.set_timer(wait_s, self._look)

    def _draw(self) -> None:
        picture = self._picture
        if picture is None:
            return
        width = self.size.width
        self._update("title", panels.title(picture) + f", {text.clock(picture.snapshot.taken_at)}")
        self._update("facts", "\n".join(panels.fact_lines(picture, width)))
        self._update("keys", KEYS if width >= len(KEYS) else KEYS_NARROW)
        self._draw_panels()
        self._draw_table(picture)

    def _draw_panels(self) -> None:
        picture = self._picture
        if picture is None:
            return
        three = self.size.width >= WIDE
        errors = three or self._failures
        self.query_one("#errors").display = errors
        self.query_one("#nodes").display = three or not self._failures
        width = self.size.width // (3 if three else 2) - 1
        height = self.query_one("#panels").size.height
        lines = {
            "plot": plot(picture.tally.results, picture.tally.minimize, width, height),
            "nodes": occupancy.node_lines(occupancy.node_slots(picture), width, height),
            "errors": panels.failure_lines(picture, width, height) if errors else [],
        }
        for name, some in lines.items():
            self._update(name, "\n".join(some))

    def _update(self, name: str, what: str) -> None:
        """Draws a part anew if it has changed: what has not is not sent again."""
        part = self.query_one(f"#{name}", Static)
        if part.content != (content := Content(what)):
            part.update(content)

    # ---- the table

    def _draw_table(self, picture: Picture) -> None:
        shown, tally = self._table, picture.tally
        some = evaluations.top(shown, tally, ROWS)
        names = evaluations.columns(shown, picture.snapshot.names, tally)
        cells = {one.id: evaluations.cells(one, names, picture.snapshot.taken_at) for one in some}
        tabs = "  ".join(
            f"[{key} {table.name}]" if table.name == shown.name else f"{key} {table.name}"
            for key, table in evaluations.TABLES.items()
        )
        way = "falling" if shown.descending else "rising"
        self._update("tables", f"{tabs}   by {shown.column}, {way}; {len(some)} of {len(tally.seen)}")
        self.query_one(Rows).fill(names, cells)

    def _show(self, table: evaluations.Table) -> None:
        self._table = table
        self.query_one(Rows).to_top()
        self._draw()

    # ---- keys

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_table(self, key: str) -> None:
        self._show(evaluations.table(key, self._picture is not None and self._picture.tally.minimize))

    def action_sort(self) -> None:
        if self._picture is None:
            return
        words = evaluations.sortable(self._picture.snapshot.names, self._picture.tally)

        def take(word: str | None) -> None:
            if word is not None:
                self._show(self._table.sorted_by(word, self._table.descending))

        self.push_screen(Choice("Sort by", words, self._table.column), take)

    def action_reverse(self) -> None:
        self._show(self._table.sorted_by(self._table.column, not self._table.descending))

    def action_failures(self) -> None:
        self._failures = not self._failures
        self._draw()

    def on_data_table_row_selected(self) -> None:
        identity, layout = self.query_one(Rows).selected, self._layout
        if identity is not None:
            title = f"Evaluation {identity} of {layout.name}"
            self.push_screen(
                Page(title, lambda width: list(detail_lines(read_detail(layout, identity), text.Style(width))))
            )

    def action_log(self) -> None:
        identity = self.query_one(Rows).selected
        if identity is not None:
            self.push_screen(LogWindow(lambda: output.of_evaluation(self._layout, identity)))

    def action_driver(self) -> None:
        self.push_screen(LogWindow(lambda: output.of_drivers(self._layout)))

    def action_why(self, evaluation: bool) -> None:
        identity = self.query_one(Rows).selected if evaluation else None
        self.push_screen(Page("Why", lambda width: list(explain(self._layout, identity).lines(width))))

    def action_help(self) -> None:
        self.push_screen(Page("Keys", lambda width: HELP))

    def action_end(self, name: str) -> None:
        if self._picture is None:
            return
        chosen = known(self._picture.snapshot.live)
        if not chosen:
            self.push_screen(Page(name, lambda width: ["Nothing runs, and nothing waits."]))
            return
        do, question = ENDINGS[name]

        def take(answer: bool | None) -> None:
            if answer:
                self.push_screen(Page(name, lambda width: list(do(self._layout, chosen))))

        self.push_screen(Question([question, *(f"  {panels.allocation(one)}" for one in chosen)]), take)


def run(layout: Layout, interval_s: float) -> None:
    """Shows a workflow until its reader leaves."""
    os.environ.setdefault("ESCDELAY", "50")  # Esc closes windows, and does so at once
    Monitor(layout, interval_s).run(mouse=False)
