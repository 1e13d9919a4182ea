"""The search that users and the driver hold: one strategy, and around it what is true of every search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import (
    FiniteStrategy,
    Outcome,
    Setting,
    SeveralObjectivesStrategy,
    SeveralOutcome,
    Strategy,
    WatchingStrategy,
    objectives_of,
)
from hpcsearch.search.stopped import Bounds
from hpcsearch.search.values import Told, Values

#: A strategy is asked this often for what its duplicates left open.
_ATTEMPTS = 3

#: Rounds of random drawing for a new configuration before the space is listed, and at most.
_ROUNDS_BEFORE_LISTING = 4
_ROUNDS = 40

#: A constrained space of at most this bound is listed at the start, to know its size; no more than this is ever listed.
_SMALL = 2_000
_LISTED = 200_000


class Search:
    """Ask/tell: proposes configurations that were never proposed or told before, and learns from results.

    Asked and not yet told is pending. Not for several threads at once.
    """

    def __init__(self, strategy: Strategy, setting: Setting, seed: int | None) -> None:
        self.strategy = strategy
        self._setting = setting
        self.encoding = setting.encoding
        self._seed = seed
        self._finite = strategy if isinstance(strategy, FiniteStrategy) else None
        self._started = False
        self._told: dict[Any, bool] = {}  # every known configuration by key: True once told, False while pending
        self._starting_points = [dict(point) for point in setting.problem.starting_points][::-1]
        self._sign = -1.0 if setting.problem.minimize else 1.0
        self._values = Values(setting.problem.minimize, objectives_of(strategy) == "several")
        self._bounds = Bounds()
        self._listed: list[Configuration] | None = None
        self._size = self._count()

    @property
    def exhausted(self) -> bool:
        """Whether ``ask`` has nothing more to give.

        Every configuration of a finite space has been proposed or told, or all that a finite strategy suggests.
        """
        if len(self._told) >= self._size:
            return True
        return self._finite is not None and self._finite.exhausted and not self._starting_points

    @property
    def planned(self) -> float | None:
        """How many configurations a finite strategy suggests in all; None for one that goes on as long as it is asked.

        Starting points that are not among its own come in addition.
        """
        return None if self._finite is None else self._finite.size

    def ask(self, n: int = 1) -> list[Configuration]:
        """Proposes ``n`` legal configurations of plain Python values; they are pending from now on.

        None of them was asked or told before. Starting points come first. Fewer than ``n`` only when the space is
        exhausted. An inactive hyperparameter is absent from its configuration.
        """
        if not self._started:
            self._start()
        chosen: list[Configuration] = []
        while self._starting_points and len(chosen) < n:
            self._take([self._starting_points.pop()], n, chosen)
        # A finite strategy suggests from its beginning on, also where most of that is known from an earlier allocation.
        for _ in range(_ATTEMPTS) if self._finite is None else itertools.count():
            if len(chosen) >= n or self.exhausted:
                break
            suggestions = self.strategy.ask(n - len(chosen))
            if not suggestions and self._finite is not None:
                break
            self._take(suggestions, n, chosen)
        if len(chosen) < n and not self.exhausted and self._finite is None:
            self._fill(n, chosen)
        self.strategy.pending(chosen)
        return chosen

    def tell(self, results: Sequence[tuple[Mapping[str, Any], Told]]) -> None:
        """Takes results: pairs of a configuration and its objective in the problem's own sense, None for a failure.

        Several objectives are a mapping by their names, of which ``NAME:min`` and ``NAME:max`` carry a sense of their
        own, or a sequence. A strategy that does not take several is told the first one. The first result with several
        decides which there are; of one that has others only the first counts.

        An objective that is not finite is a failure. Configurations need not have been asked for, and those that were
        told before, or are not in the space (any more), are passed over.
        """
        news = self._news(results)
        if news:
            self._bounds.finished(_first(news))
            learner = cast("SeveralObjectivesStrategy", self.strategy)  # it is told what it says that it takes
            learner.tell([*news, *self._bounds.released()])

    def tell_stopped(self, results: Sequence[tuple[Mapping[str, Any], Told]]) -> None:
        """Takes what evaluations came to that were stopped early: as pairs, of which the last value may be None.

        The strategy is told a bound on them, see :class:`hpcsearch.search.stopped.Bounds`.
        """
        bounded = self._bounds.of(_first(self._news(results)))
        if bounded:
            self.strategy.tell(bounded)

    def progress(self, results: Sequence[tuple[Mapping[str, Any], float]]) -> None:
        """Takes what pending evaluations have come to so far, where others are stopped by such values.

        Only a :class:`~hpcsearch.search.base.WatchingStrategy` learns it.
        """
        if isinstance(self.strategy, WatchingStrategy):
            pending = [(c, value) for c, value in results if self._told.get(self.encoding.key(c)) is False]
            self.strategy.progress([(dict(c), self._sign * value) for c, value in pending if math.isfinite(value)])

    def _news(self, results: Sequence[tuple[Mapping[str, Any], Told]]) -> list[SeveralOutcome]:
        """What of these was not told before, and is in the space; from now on it is told. Greater is better."""
        key, told, value_of = self.encoding.key, self._told, self._values.of
        news: list[SeveralOutcome] = []
        strangers: list[SeveralOutcome] = []
        for configuration, objective in results:
            value, name = value_of(objective), key(configuration)
            if told.get(name) is False:
                told[name] = True
                news.append((dict(configuration), value))
            elif name not in told:
                strangers.append((dict(configuration), value))
        for outcome in self._legal(strangers):
            name = key(outcome[0])
            if name not in told:
                told[name] = True
                news.append(outcome)
        return news

    def pending(self, configurations: Iterable[Mapping[str, Any]]) -> None:
        """Makes configurations known that were proposed before and will be told later (on resume)."""
        news = []
        for configuration, _ in self._legal([(dict(configuration), None) for configuration in configurations]):
            name = self.encoding.key(configuration)
            if name not in self._told:
                self._told[name] = False
                news.append(configuration)
        if news:
            self.strategy.pending(news)

    def _start(self) -> None:
        """Seeds from what is known, so that a resumed search does not draw its beginning again."""
        self._started = True
        entropy = None if self._seed is None else (self._seed, len(self._told))
        self._setting.random.bit_generator.state = np.random.PCG64(np.random.SeedSequence(entropy)).state

    def _take(self, suggestions: Iterable[Configuration], n: int, chosen: list[Configuration]) -> None:
        """Adds those to ``chosen`` that are not known, until it holds ``n``."""
        key, told = self.encoding.key, self._told
        for configuration in suggestions:
            if len(chosen) >= n:
                return
            name = key(configuration)
            if name not in told:
                told[name] = False
                chosen.append(configuration)

    def _fill(self, n: int, chosen: list[Configuration]) -> None:
        """Random configurations for what the strategy left open, in the end from a list of all that are left."""
        encoding, rng = self.encoding, self._setting.random
        for attempt in range(_ROUNDS):
            if self._listed is None and attempt == _ROUNDS_BEFORE_LISTING:
                self._list()
            if self._listed is not None:
                break
            size = min(max(4 * (n - len(chosen)), 32) << min(attempt, 12), 65_536)
            self._take(encoding.decode(encoding.draw(size, rng)), n, chosen)
            if len(chosen) >= n or self.exhausted:
                return
        if self._listed is None:
            self._size = len(self._told)  # forty rounds found nothing new: what is left would take for ever to find
            return
        while self._listed and len(chosen) < n:
            self._take([self._listed.pop()], n, chosen)

    def _list(self) -> None:
        rows = self.encoding.enumerate(_LISTED)
        if rows is not None:
            self._size = len(rows)
            self._listed = self.encoding.decode(self._setting.random.permutation(rows))

    def _count(self) -> float:
        """How many configurations there are: exact, or infinite as long as it is not known."""
        if not self.encoding.constrained:
            return self.encoding.size_bound
        if self.encoding.size_bound > _SMALL:
            return math.inf
        rows = self.encoding.enumerate(_SMALL)
        return math.inf if rows is None else len(rows)

    def _legal(self, outcomes: list[SeveralOutcome]) -> list[SeveralOutcome]:
        if not outcomes:
            return outcomes
        legal = self.encoding.legal(self.encoding.encode([configuration for configuration, _ in outcomes]))
        return [outcome for outcome, fits in zip(outcomes, legal, strict=True) if fits]


def _first(outcomes: Iterable[SeveralOutcome]) -> list[Outcome]:
    """The same by the first objective alone."""
    return [(configuration, value[0] if isinstance(value, tuple) else value) for configuration, value in outcomes]
