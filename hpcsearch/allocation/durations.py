"""How long evaluations take: what the walltime and the preparation of the next ones are judged by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Durations:
    """The latest durations of finished evaluations (seconds), and their quantiles."""

    WINDOW = 512

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._latest: deque[float] = deque(seconds, maxlen=self.WINDOW)
        self._sorted: list[float] = []
        self._unsorted = len(self._latest)

    def add(self, duration_s: float) -> None:
        """One more evaluation has finished."""
        self._latest.append(duration_s)
        self._unsorted += 1

    def quantile(self, share: float) -> float | None:
        """The duration that ``share`` of the latest evaluations did not exceed; None when none has finished.

        It is brought up to date when a sixteenth of the window is new, so asking costs next to nothing.
        """
        if self._unsorted > len(self._sorted) // 16:
            self._sorted = sorted(self._latest)
            self._unsorted = 0
        if not self._sorted:
            return None
        return self._sorted[min(len(self._sorted) - 1, int(share * len(self._sorted)))]
