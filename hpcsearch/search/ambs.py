"""Asynchronous model-based search: an initial design, then proposals by a Gaussian process of all that is known."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial

import numpy as np
from threadpoolctl import ThreadpoolController

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.acquisition import CENTRES, Choice, propose
from hpcsearch.search.base import Objectives, Outcome, Setting, SeveralOutcome
from hpcsearch.search.candidates import candidates
from hpcsearch.search.columns import Array
from hpcsearch.search.design import latin_hypercube
from hpcsearch.search.encoding import Mask
from hpcsearch.search.history import History
from hpcsearch.search.model import Learned, Learner
from hpcsearch.search.scalar import drawn_weights, scalarised

#: In the background, proposals are made anew once the results have grown by this share.
_GROWTH = 0.01

#: So many proposals at most are made ready for the time until then.
_MOST_AHEAD = 256

#: For an ask that finds nothing ready and must not wait: so many are ranked, out of so many candidates, with so many
#: pending ones looked at, the newest.
_HASTY_RANKED = 16
_HASTY_CANDIDATES = 128
_HASTY_PENDING = 32


class AmbsSearch:
    """Model-based search for many workers: pending evaluations count, failures are learned, duplicates are left out.

    Of several objectives each model learns one scalar, with weights of its own, see :mod:`hpcsearch.search.scalar`.

    Args:
        setting: problem, encoding, source of chance, and whether models are fitted in a thread.
        n_initial: points of the initial design, starting points included; max(8, hyperparameters + 2) by default.
        kappa: mean weight of the uncertainty against the expected objective; larger explores more.
        n_candidates: configurations that are compared for each ask.
        max_points: results that a model rests on at most: the best ones, and others drawn anew each time.
    """

    objectives: Objectives = "several"

    def __init__(
        self,
        setting: Setting,
        n_initial: int | None = None,
        kappa: float = 1.0,
        n_candidates: int = 800,
        max_points: int = 256,
    ) -> None:
        dimensions = sum(column.size > 1 for column in setting.encoding.columns)
        self.n_initial = max(8, dimensions + 2) if n_initial is None else n_initial
        for name, value, least in (
            ("n_initial", self.n_initial, 1),
            ("n_candidates", n_candidates, 2),
            ("max_points", max_points, 2),
        ):
            if value < least:
                raise SearchError(f"{name}={value} is too small for ambs.", f"Give at least {least}.")
        if not kappa > 0:
            raise SearchError(f"kappa={kappa} is not a weight that ambs can use.", "Give a number above 0.")
        self._setting = setting
        encoding = setting.encoding
        whole = encoding.enumerate(2 * n_candidates) if encoding.columns else None
        self._choice = Choice(n_candidates, kappa, whole)
        self._hasty_choice = Choice(_HASTY_CANDIDATES, kappa)
        self._learner = Learner(setting.encoding, max_points)
        self._history = History(setting.encoding)
        self._design: deque[Configuration] = deque()
        self._learned: Learned | None = None
        self._background = Background(self) if setting.background else None
        self.lock = threading.Lock()  # guards the history and the last model where a thread works beside the caller

    def ask(self, n: int) -> Sequence[Configuration]:
        if not self._model_due:
            return self._next_design(n)
        if self._background is not None:
            return self._background.ask(n)
        with one_core():
            self.refit(self._setting.random)
            return self.proposals(n, self._setting.random)

    def pending(self, configurations: Sequence[Configuration]) -> None:
        with self.lock:
            self._history.add_pending(configurations)

    def tell(self, results: Sequence[SeveralOutcome]) -> None:
        with self.lock:
            self._history.tell(results)
        if self._background is not None and self._model_due:
            self._background.wake()

    def progress(self, results: Sequence[Outcome]) -> None:
        with self.lock:
            self._history.note(results)  # the next model, which a result is the occasion for, rests on this, too

    @property
    def fitted(self) -> bool:
        """Whether there is a model yet."""
        return self._learned is not None

    @property
    def learned(self) -> Learned:
        """The last model."""
        assert self._learned is not None
        return self._learned

    @property
    def stale(self) -> bool:
        """Whether so much has been told since the last model that it is time for another."""
        known = 0 if self._learned is None else self._learned.told
        return self._history.told - known >= self.lifetime

    @property
    def lifetime(self) -> int:
        """After how many results the last model is replaced."""
        return max(1, int(_GROWTH * self._learned.told)) if self._learned is not None else 1

    def refit(self, rng: np.random.Generator) -> None:
        """Learns from all that has been told."""
        with self.lock:
            data = self._history.data()
        if data.several is not None:
            weights = drawn_weights(data.several.shape[1], rng)
            data = replace(data, objectives=scalarised(data.several, weights))
        learned = self._learner.learn(data, rng)
        with self.lock:
            self._learned = learned

    def proposals(self, n: int, rng: np.random.Generator) -> list[Configuration]:
        """Up to ``n`` configurations by the last model, the best first."""
        return self._setting.encoding.decode(self._ranked(self.learned, n, self._choice, 0, rng))

    def hasty_proposals(self, n: int, rng: np.random.Generator) -> list[Configuration]:
        """As :meth:`proposals`, within a few milliseconds: few are ranked, the others are candidates as they come."""
        learned, encoding = self.learned, self._setting.encoding
        ranked = self._ranked(learned, min(n, _HASTY_RANKED), self._hasty_choice, _HASTY_PENDING, rng)
        others = candidates(encoding, learned.best[:CENTRES], np.ones(len(encoding.columns)), n - len(ranked), rng)
        return encoding.decode(np.concatenate([ranked, others]))

    def _ranked(self, learned: Learned, n: int, choice: Choice, newest: int, rng: np.random.Generator) -> Array:
        with self.lock:
            pending = self._history.pending()[-newest:]  # 0 for all of them
        return propose(learned, self._setting.encoding, pending, partial(self._unknown, learned), n, choice, rng)

    def thread_random(self) -> np.random.Generator:
        """A source of chance for a thread of its own."""
        return np.random.default_rng(self._setting.random.integers(2**63))

    def _unknown(self, learned: Learned, rows: Array) -> Mask:
        with self.lock:
            return self._history.unknown(rows, learned.inert)

    @property
    def _model_due(self) -> bool:
        """Whether enough is known for a model: the design is placed, and half of it has come back."""
        history = self._history
        return history.known >= self.n_initial and 2 * history.told >= self.n_initial

    def _next_design(self, n: int) -> list[Configuration]:
        """Points of the design; more of its kind while too little has come back for a model."""
        encoding, rng = self._setting.encoding, self._setting.random
        for _ in range(16):
            if len(self._design) >= n:
                break
            size = max(self.n_initial - self._history.known, n - len(self._design), 2)
            self._design.extend(encoding.decode(encoding.from_unit(latin_hypercube(size, len(encoding.columns), rng))))
        return [self._design.popleft() for _ in range(min(n, len(self._design)))]


def one_core() -> AbstractContextManager[object]:
    """Keeps linear algebra on one core: for matrices this small, more threads take longer than one."""
    limited: AbstractContextManager[object] = _pools().limit(limits=1, user_api="blas")
    return limited


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()  # looking for all that is loaded takes milliseconds


class Background:
    """Fits and ranks in a thread beside the caller; asks are served from what the last fit has ready.

    There is at most one thread at a time, and none while nothing is to be done. What it raises comes out of the next
    ask.
    """

    def __init__(self, search: AmbsSearch) -> None:
        self._search = search
        self._ready: deque[Configuration] = deque()
        self._demand = 1  # asked since the last round
        self._usual = 0  # asked between two rounds lately; halved whenever less is
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def ask(self, n: int) -> list[Configuration]:
        self._complain()
        self._demand += n
        if not self._search.fitted:  # this once it is worth the wait: a resumed search may be asked for thousands
            self.wake()
            self.join()
            self._complain()
        ready = self._ready
        taken = [ready.popleft() for _ in range(min(n, len(ready)))]
        if len(taken) < n:
            taken += self._search.hasty_proposals(n - len(taken), self._search.thread_random())
        self.wake()
        return taken

    def join(self) -> None:
        """Waits for the end of the round that is under way."""
        if self._thread is not None:
            self._thread.join()

    def _complain(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wake(self) -> None:
        """Starts a round if there is something to do and none under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._search.stale or not self._ready:
            rng = self._search.thread_random()
            self._thread = threading.Thread(target=self._round, args=(rng,), name="hpcsearch-ambs", daemon=True)
            self._thread.start()

    def _round(self, rng: np.random.Generator) -> None:
        try:
            with one_core():
                if self._search.stale:
                    self._search.refit(rng)
                self._ready = deque(self._search.proposals(self._foreseen(), rng))
        except Exception as error:  # noqa: BLE001 - raised again by the next ask
            self._error = error

    def _foreseen(self) -> int:
        """How many to make ready: what has been asked, and what is usual or will be told until the next model.

        Candidates and predictions of them cost the same for one as for many.
        """
        asked, self._demand = self._demand, 0
        if asked:
            self._usual = max(asked, self._usual // 2)
        return max(asked, min(max(self._usual, self._search.lifetime), _MOST_AHEAD))
