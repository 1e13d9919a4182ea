"""What a model-based strategy knows: rows told with their objectives or failures, and rows pending."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, SeveralOutcome
from hpcsearch.search.columns import Array
from hpcsearch.search.encoding import Encoding, Mask
from hpcsearch.search.inert import Inert


@dataclass(frozen=True)
class Data:
    """A snapshot: the ``rows`` told, in that order, with ``objectives`` (greater is better, NaN for a failure).

    Behind the first ``told`` rows are pending ones, with what they have come to so far. Where evaluations have several
    objectives, ``several`` has a line of them for each row, NaN where one is not known; ``objectives`` are the first.
    """

    rows: Array
    objectives: Array
    told: int
    several: Array | None = None

    @property
    def failed(self) -> Mask:
        return np.isnan(self.objectives)


class History:
    """Grows by telling, at a constant cost for each result; rows are encoded when first needed, many at a time."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._rows = np.empty((64, len(encoding.columns)))
        self._values = np.full((64, 1), np.nan)  # of each row: its objectives
        self._encoded = 0
        self._fresh: list[SeveralOutcome] = []
        self._pending: dict[Hashable, Array] = {}
        self._progress: dict[Hashable, float] = {}  # what pending ones have come to so far
        self._known: set[bytes] = set()
        self.told = 0
        self.succeeded = 0

    @property
    def known(self) -> int:
        """How many configurations are told or pending."""
        return self.told + len(self._pending)

    def add_pending(self, configurations: Iterable[Configuration]) -> None:
        placed = list(configurations)
        rows = self._encoding.encode(placed)
        for configuration, row in zip(placed, rows, strict=True):
            self._pending[self._encoding.key(configuration)] = row
        self._remember(rows)

    def tell(self, results: Sequence[SeveralOutcome]) -> None:
        for configuration, objective in results:
            key = self._encoding.key(configuration)
            self._pending.pop(key, None)
            self._progress.pop(key, None)
            self.succeeded += objective is not None
        self._fresh.extend(results)
        self.told += len(results)

    def note(self, results: Sequence[Outcome]) -> None:
        """What pending ones have come to so far."""
        for configuration, value in results:
            key = self._encoding.key(configuration)
            if value is not None and key in self._pending:
                self._progress[key] = value

    def pending(self) -> Array:
        """The rows that are pending, the oldest first."""
        return np.array(list(self._pending.values())).reshape(len(self._pending), len(self._encoding.columns))

    def data(self) -> Data:
        """All that has been told; the arrays are not changed later."""
        self._encode()
        rows, values = self._rows[: self._encoded], self._values[: self._encoded]
        if self._progress:
            rows = np.vstack([rows, *(self._pending[key] for key in self._progress)])
            values = np.vstack([values, np.full((len(self._progress), values.shape[1]), np.nan)])
            values[self._encoded :, 0] = list(self._progress.values())
        return Data(rows, values[:, 0], self._encoded, values if values.shape[1] > 1 else None)

    def unknown(self, rows: Array, inert: Inert) -> Mask:
        """Which rows are neither told nor pending, nor repeated further up among ``rows``.

        Neither are those that differ from such a row in nothing but what is ``inert``.
        """
        self._encode()
        fresh = _first(_names(rows), self._known)
        if inert.rules:
            told, pending = inert.collapsed(self._rows[: self._encoded]), inert.collapsed(self.pending())
            fresh &= _first(_names(inert.collapsed(rows)), {*_names(told), *_names(pending)})
        return fresh

    def _encode(self) -> None:
        if not self._fresh:
            return
        rows = self._encoding.encode([configuration for configuration, _ in self._fresh])
        total = self._encoded + len(rows)
        most = max(len(value) if isinstance(value, tuple) else 1 for _, value in self._fresh)
        if total > len(self._values) or most > self._values.shape[1]:
            self._grow(2 * total, most)
        self._rows[self._encoded : total] = rows
        for place, (_, value) in enumerate(self._fresh, start=self._encoded):
            if isinstance(value, tuple):
                self._values[place, : len(value)] = value
            else:
                self._values[place, 0] = math.nan if value is None else value
        self._encoded = total
        self._fresh = []
        self._remember(rows)

    def _grow(self, capacity: int, objectives: int) -> None:
        width = max(objectives, self._values.shape[1])
        rows, values = np.empty((capacity, self._rows.shape[1])), np.full((capacity, width), np.nan)
        rows[: self._encoded] = self._rows[: self._encoded]
        values[: self._encoded, : self._values.shape[1]] = self._values[: self._encoded]
        self._rows, self._values = rows, values

    def _remember(self, rows: Array) -> None:
        self._known.update(_names(rows))


def _first(names: Sequence[bytes], known: Set[bytes]) -> Mask:
    """Which names are not ``known``, nor repeated further up."""
    places = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))  # the first of the same one
    fresh = np.zeros(len(names), dtype=np.bool_)
    fresh[[place for name, place in places.items() if name not in known]] = True
    return fresh


def _names(rows: Array) -> list[bytes]:
    """The bytes of each row."""
    width = rows.shape[1] * rows.itemsize
    if not width:
        return [b""] * len(rows)
    names: list[bytes] = np.ascontiguousarray(rows).view(f"V{width}")[:, 0].tolist()
    return names
