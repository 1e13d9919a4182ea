"""``hpcsearch monitor`` as plain text: where there is no terminal, and for whoever wants to see it once."""

from __future__ import annotations

from hpcsearch.monitor import evaluations, occupancy, panels, text
from hpcsearch.monitor.plot import plot
from hpcsearch.monitor.watch import Picture

_PLOT = (72, 12)
_ROWS = 10
#: So many nodes, and kinds of failures, are listed.
_LISTED = 20


def print_page(picture: Picture) -> None:
    """Prints all that the terminal view shows, one part below the other."""
    style = text.style_of_output()
    print(f"{panels.title(picture)}, seen {text.local_time(picture.snapshot.taken_at)}")
    for line in text.table_lines(None, panels.facts(picture), style):
        print(line)
    width = min(style.width, 1000)
    _part("Nodes", occupancy.node_lines(occupancy.node_slots(picture), width, _LISTED + 1))
    if picture.tally.failures():
        _part("Failures", panels.failure_lines(picture, width, _LISTED))
    if picture.tally.results:
        _part("Objective", plot(picture.tally.results, picture.tally.minimize, min(width, _PLOT[0]), _PLOT[1]))
    for key in ("2", "1"):
        _evaluations(picture, key, style)


def _part(title: str, lines: list[str]) -> None:
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}".rstrip())


def _evaluations(picture: Picture, key: str, style: text.Style) -> None:
    shown = evaluations.table(key, picture.tally.minimize)
    some = evaluations.top(shown, picture.tally, _ROWS)
    if some:
        print(f"\n{shown.name.capitalize()}")
        names = evaluations.columns(shown, picture.snapshot.names, picture.tally)
        rows = [evaluations.cells(one, names, picture.snapshot.taken_at) for one in some]
        for line in text.table_lines(names, rows, style):
            print(line)
