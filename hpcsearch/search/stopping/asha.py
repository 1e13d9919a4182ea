"""Asynchronous successive halving: at each rung only the best go on."""

from __future__ import annotations

from hpcsearch.errors import SearchError
from hpcsearch.search.stopping.order import TopShare


class AshaStopper:
    """Stops an evaluation at a rung unless its value is among the best 1/eta of all that have reached the rung.

    Rungs are the steps ``first``, ``first * eta``, ``first * eta**2``, ... without an end: how far an evaluation goes
    need not be known. It is judged by its first report at or beyond a rung. While fewer than ``eta`` evaluations have
    reached a rung, those that do go on.

    The stopping variant of ASHA (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: A System for
    Massively Parallel Hyperparameter Tuning, MLSys 2020, section 3.2): nothing is ever paused, so an evaluation that
    goes on needs no checkpoint, and a decision never waits for others.

    By default it is gentle, and begins at step 2. Over recorded curves of networks and kernel machines rungs that let
    one of two go on took as little time as those of one of four; these, and a first rung at step 1, now and then lost
    the best configurations, which start slowly.

    Args:
        eta: of so many evaluations one goes on at each rung.
        first: the step of the first rung.
    """

    def __init__(self, eta: float = 2.0, first: float = 2.0) -> None:
        if not eta >= 1.5:
            raise SearchError(f"eta={eta:g} would stop next to nothing.", "Give 1.5 or more; 2 to 4 are usual.")
        if not first > 0:
            raise SearchError(f"first={first:g} is no step at which asha could judge.", "Give a number above 0.")
        self._eta = eta
        self._first = first
        self._rungs: list[TopShare] = []
        self._reached: dict[int, int] = {}  # by evaluation: the rungs that it has behind it

    def tell(self, evaluation: int, step: float, value: float) -> bool:
        reached = self._reached.get(evaluation, 0)
        rung = self._first * self._eta**reached
        if step < rung:
            return False
        while step >= rung * self._eta:  # it may have passed some without a report
            rung *= self._eta
            reached += 1
        self._reached[evaluation] = reached + 1
        while len(self._rungs) <= reached:
            self._rungs.append(TopShare(1 / self._eta))
        values = self._rungs[reached]
        values.add(value)
        return values.limit is not None and value < values.limit

    def ended(self, evaluation: int, finished: bool) -> None:
        """What it reported counts on, however it ended."""
