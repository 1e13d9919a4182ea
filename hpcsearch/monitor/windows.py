"""The windows that the terminal view opens: a page, a log that grows, a choice, and a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Log, OptionList, Static
from textual.worker import get_current_worker

from hpcsearch.errors import HpcsearchError
from hpcsearch.monitor import text
from hpcsearch.monitor.follow import read_files
from hpcsearch.monitor.output import Output

_CLOSE: list[BindingType] = [Binding("escape,q", "close", "close")]
_LOG_LINES = 1000


class Page(ModalScreen[None]):
    """A title, and lines that were made by ``lines`` for the width that there is; they scroll."""

    BINDINGS = _CLOSE

    def __init__(self, title: str, lines: Callable[[int], Sequence[str]]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Static(Content(f"{self._title}  (Esc: back)"), classes="title")
        with VerticalScroll():
            yield Static(Content(""), id="page")

    def on_mount(self) -> None:
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        try:
            lines = self._lines(max(20, self.app.size.width - 2))
        except HpcsearchError as error:
            lines = [error.message, error.hint]
        content = Content("\n".join(lines))
        self.app.call_from_thread(self.query_one("#page", Static).update, content)

    def action_close(self) -> None:
        self.dismiss()


class LogWindow(ModalScreen[None]):
    """What an evaluation or a driver prints, from its last lines on."""

    BINDINGS = _CLOSE

    def __init__(self, output: Callable[[], Output]) -> None:
        super().__init__()
        self._output = output

    def compose(self) -> ComposeResult:
        yield Static(Content("reading ..."), classes="title")
        yield Log(max_lines=_LOG_LINES)

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self._follow()

    @work(thread=True)
    def _follow(self) -> None:
        worker, tell = get_current_worker(), self.app.call_from_thread
        title, log = self.query_one(".title", Static), self.query_one(Log)
        try:
            output = self._output()
            tell(title.update, Content(f"{output.title}  (Esc: back)"))
            printed = False
            for piece in read_files(output.files, _LOG_LINES, lambda: worker.is_cancelled or output.ended()):
                if worker.is_cancelled:
                    return
                printed = True
                tell(log.write, _printable(piece))
            if not worker.is_cancelled:
                tell(log.write_line, "-- this was all --" if printed else "It has printed nothing.")
        except HpcsearchError as error:
            tell(log.write_line, error.message)

    def action_close(self) -> None:
        self.dismiss()


def _printable(piece: bytes) -> str:
    lines = piece.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(text.printable(line) for line in lines)


class Choice(ModalScreen[str | None]):
    """One of several words."""

    BINDINGS = _CLOSE

    def __init__(self, title: str, words: Sequence[str], chosen: str) -> None:
        super().__init__()
        self._title, self._words, self._chosen = title, words, chosen

    def compose(self) -> ComposeResult:
        yield Static(Content(f"{self._title}  (Enter: take it, Esc: back)"), classes="title")
        yield OptionList(*(Content(word) for word in self._words))

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = self._words.index(self._chosen) if self._chosen in self._words else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._words[event.option_index])

    def action_close(self) -> None:
        self.dismiss(None)


class Question(ModalScreen[bool]):
    """Something that cannot be undone: only the letter y is a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q,enter", "answer(False)", "no"),
    ]

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Static(Content("\n".join([*self._lines, "", "y: yes   n: no"])), id="question")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
