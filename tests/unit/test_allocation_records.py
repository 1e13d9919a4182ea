"""What driver and recorder agree on."""

from __future__ import annotations

import pytest

from hpcsearch.allocation import records
from hpcsearch.workflow import schema


def test_rows_get_their_names() -> None:
    rows = [[1, 2, "n1", 0, None, 1, 5.0], [3, 1, "n2", 1, "n2,n3", 4, 6.0]]
    one = {"evaluation": 1, "attempt": 2, "node": "n1", "slot": 0, "nodes": None, "slots": 1, "started_at": 5.0}
    other = {"evaluation": 3, "attempt": 1, "node": "n2", "slot": 1, "nodes": "n2,n3", "slots": 4, "started_at": 6.0}
    named = records.named(records.STARTED_COLUMNS, rows, allocation=7)
    assert named == [{**one, "allocation": 7}, {**other, "allocation": 7}]
    assert records.named(records.STARTED_COLUMNS, []) == []


@pytest.mark.parametrize("row", [[1, 2, "n1", 0], [1, 2, "n1", 0, None, 1, 5.0, 6.0]])
def test_a_row_with_another_number_of_values_is_an_error(row: list[object]) -> None:
    with pytest.raises(ValueError, match="argument 2 is"):
        records.named(records.STARTED_COLUMNS, [row])


def test_every_column_of_an_end_is_recorded() -> None:
    columns = {column.name for column in schema.evaluation.columns} | {"evaluation", "final"}
    assert set(records.ENDED_COLUMNS) <= columns
    assert set(records.REPORT_COLUMNS) <= {column.name for column in schema.report.columns}


def test_messages_are_told_apart() -> None:
    names = [name for name in vars(records) if name.isupper() and not name.endswith("_COLUMNS")]
    values = [getattr(records, name) for name in names]
    assert len(set(values)) == len(values) >= 11
