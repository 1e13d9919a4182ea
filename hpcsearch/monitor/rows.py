"""A table on the terminal that draws what has changed and nothing else, and keeps its cursor on the same evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual.widgets import DataTable


class Rows(DataTable[Text]):
    """Evaluations, a row for each, by their ids."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=1)
        self._column_names: tuple[str, ...] = ()

    @property
    def selected(self) -> int | None:
        """The evaluation at the cursor."""
        rows = self.ordered_rows
        key = rows[self.cursor_row].key.value if 0 <= self.cursor_row < len(rows) else None
        return None if key is None else int(key)

    def to_top(self) -> None:
        """Puts the cursor on the first row."""
        self.move_cursor(row=0, animate=False)

    def fill(self, names: tuple[str, ...], cells: Mapping[int, tuple[str, ...]]) -> None:
        """Shows these evaluations in their order, with these columns.

        Args:
            names: of the columns.
            cells: of each evaluation, one for each column.
        """
        if names != self._column_names:
            self._column_names = names
            self.clear(columns=True)
            for name in names:
                self.add_column(Text(name), key=name)
        if [row.key.value for row in self.ordered_rows] == [str(identity) for identity in cells]:
            self._update(cells)
            return
        selected, row_number = self.selected, self.cursor_row
        self.clear()
        for identity, row in cells.items():
            self.add_row(*(Text(cell) for cell in row), key=str(identity))
        if selected is not None and selected in cells and row_number > 0:  # at the top it stays at the top
            row_number = list(cells).index(selected)
        self.move_cursor(row=row_number, animate=False)

    def _update(self, cells: Mapping[int, tuple[str, ...]]) -> None:
        for identity, row in cells.items():
            for name, cell in zip(self._column_names, row, strict=True):
                if str(self.get_cell(str(identity), name)) != cell:
                    self.update_cell(str(identity), name, Text(cell), update_width=True)
