"""Optimisers with ``ask``, ``tell``, ``stop`` and, if they like, ``disp``, in a file of the user's: plug-ins.

``Optimizer(hyperparameters, config, logger)`` is made once. ``ask()`` gives a population: a list whose members are
lists of hyperparameters with their ``values`` (or dicts). When all members have been evaluated, ``tell(population,
fitnesses)`` gives it a number for each, greater is better, and unless ``stop()`` is true it is asked again. A class
that has ``asynchronous = True`` is told of each member by itself, as soon as it has ended, and asked whenever more is
wanted. With the same seed the same populations are expected: so a search that is resumed goes through them again, with
the results that are known.
"""

from __future__ import annotations

import inspect
import logging
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.reference import Reference, load
from hpcsearch.script.script import Dimension
from hpcsearch.search.base import Outcome, Setting

log = logging.getLogger(__name__)

_HINT = "It is a class Optimizer(hyperparameters, config, logger) with ask(), tell(population, fitnesses), stop()."

#: A plug-in is asked so often in a row for something that is not known already.
_ROUNDS = 1000

_Key = tuple[tuple[str, Any], ...]


@dataclass
class Hyperparameter:
    """What a plug-in is told of a hyperparameter, and where it puts its ``values``: a number, or an array of them.

    Where it is logarithmic, ``min_range`` and ``max_range`` are logarithms; ``values`` never are.
    """

    name: str
    index: int  # of its first number, where all are put into one vector
    values: Any = None
    min_range: float = 0.0
    max_range: float = 0.0
    array_length: int | None = None
    unbounded: bool = False
    is_log: bool = False
    rand_init: bool = False


@dataclass
class _Generation:
    """A population that was asked for, and what is known of its members."""

    population: list[Any]
    keys: list[_Key]
    fitnesses: dict[int, float]


class PluginSearch:
    """Asks a plug-in, and tells it.

    Args:
        setting: the problem must be a script's. What the plug-in draws from ``random`` and ``numpy.random`` goes by the
            search's seed, or by 0.
        file: the plug-in, ``path/to/file.py`` or ``path/to/file.py:Class``.
    """

    size = None

    def __init__(self, setting: Setting, file: str = "") -> None:
        dimensions = getattr(setting.problem, "dimensions", ())
        if not file or not dimensions:
            raise SearchError("A plug-in optimiser is for scripts.", "Type submit script ... --optimizer path/file.py.")
        self._dimensions: tuple[Dimension, ...] = dimensions
        # How far the problem goes: a search that is resumed must find there whatever was evaluated.
        self._reach = {one.name: _ends(setting.problem.space[one.parts[0]]) for one in dimensions}
        random.seed(setting.seed or 0)
        np.random.seed((setting.seed or 0) % 2**32)
        self._optimizer = _made(file, _told(self._dimensions))
        self._asynchronous = bool(getattr(self._optimizer, "asynchronous", False))
        self._generations: list[_Generation] = []
        self._queue: deque[Configuration] = deque()
        self._known: dict[_Key, float | None] = {}
        self._under_way: set[_Key] = set()
        self._worst = 0.0  # what failures count as: no better than anything
        self.exhausted = False

    def ask(self, n: int) -> Sequence[Configuration]:
        rounds = 0
        while len(self._queue) < n and (self._asynchronous or not self._generations):
            rounds += 1
            if self._optimizer.stop() or rounds > _ROUNDS:
                self.exhausted = len(self._queue) <= n
                break
            self._add(list(self._optimizer.ask()))
        given = [self._queue.popleft() for _ in range(min(n, len(self._queue)))]
        self._under_way |= {_key(configuration) for configuration in given}
        return given

    def pending(self, configurations: Sequence[Configuration]) -> None:
        taken = {_key(configuration) for configuration in configurations}
        self._under_way |= taken
        self._queue = deque(one for one in self._queue if _key(one) not in taken)

    def tell(self, results: Sequence[Outcome]) -> None:
        for configuration, objective in results:
            key = _key(configuration)
            self._known[key] = objective
            self._under_way.discard(key)
        ended = {_key(configuration) for configuration, _ in results}
        self._queue = deque(one for one in self._queue if _key(one) not in ended)
        for generation in self._generations:
            self._learn(generation)
        self._generations = [one for one in self._generations if len(one.fitnesses) < len(one.keys)]

    def _add(self, population: list[Any]) -> None:
        if not population:
            raise SearchError(f"{type(self._optimizer).__name__}.ask() gave nothing, and stop() is not true.", _HINT)
        configurations = [self._configuration(member) for member in population]
        keys = [_key(configuration) for configuration in configurations]
        generation = _Generation(population, keys, {})
        new = dict(zip(keys, configurations, strict=True))
        waiting = {_key(one) for one in self._queue} | self._under_way | self._known.keys()
        self._queue.extend(one for key, one in new.items() if key not in waiting)
        self._learn(generation)
        if len(generation.fitnesses) < len(keys):
            self._generations.append(generation)

    def _learn(self, generation: _Generation) -> None:
        """Tells the plug-in what is news, and it is told: single members, or the whole population when it is done."""
        news = [
            index
            for index, key in enumerate(generation.keys)
            if key in self._known and index not in generation.fitnesses
        ]
        told = [one for index in news if (one := self._known[generation.keys[index]]) is not None]
        self._worst = min([*told, self._worst])
        for index in news:
            value = self._known[generation.keys[index]]
            generation.fitnesses[index] = self._worst if value is None else value
        if self._asynchronous and news:
            self._tell([generation.population[index] for index in news], [generation.fitnesses[i] for i in news])
        elif news and len(generation.fitnesses) == len(generation.keys):
            self._tell(generation.population, [generation.fitnesses[index] for index in range(len(generation.keys))])

    def _tell(self, population: list[Any], fitnesses: list[float]) -> None:
        self._optimizer.tell(population, fitnesses)
        if callable(getattr(self._optimizer, "disp", None)):
            self._optimizer.disp()

    def _configuration(self, member: Any) -> Configuration:
        values = member if isinstance(member, dict) else {one.name: one.values for one in member}
        configuration: Configuration = {}
        for dimension in self._dimensions:
            if dimension.name not in values:
                raise SearchError(f"{type(self._optimizer).__name__}.ask() gave no {dimension.name}.", _HINT)
            numbers = np.asarray(values[dimension.name], dtype=float).reshape(-1)
            if len(numbers) != len(dimension.parts) or not np.isfinite(numbers).all():
                wanted = f"{len(dimension.parts)} finite number{'' if len(dimension.parts) == 1 else 's'}"
                message = f"{type(self._optimizer).__name__}.ask() gave {values[dimension.name]!r:.60}"
                raise SearchError(f"{message} for {dimension.name}, not {wanted}.", _HINT)
            numbers = np.clip(numbers, *self._reach[dimension.name])
            configuration.update(zip(dimension.parts, numbers.tolist(), strict=True))
        return dict(sorted(configuration.items()))


def _ends(hyperparameter: Any) -> tuple[float, float]:
    if hasattr(hyperparameter, "lower"):
        return float(hyperparameter.lower), float(hyperparameter.upper)
    return float(hyperparameter.value), float(hyperparameter.value)


def _told(dimensions: Iterable[Dimension]) -> list[Hyperparameter]:
    told: list[Hyperparameter] = []
    index = 0
    for one in dimensions:
        low, high = (math.log(one.low), math.log(one.high)) if one.log else (one.low, one.high)
        told.append(
            Hyperparameter(
                one.name, index, None, low, high, one.length, bool(one.beyond), one.log, rand_init=one.middle is None
            )
        )
        index += len(one.parts)
    return told


def _made(file: str, hyperparameters: list[Hyperparameter]) -> Any:
    """The user's optimiser; it takes as many of the three arguments as it names."""
    kind = load(Reference.parse(file, "Optimizer", Path.cwd()))
    missing = [name for name in ("ask", "tell", "stop") if not callable(getattr(kind, name, None))]
    if not inspect.isclass(kind) or missing:
        raise SearchError(f"{file} has no class with the methods {', '.join(missing) or 'ask, tell, stop'}.", _HINT)
    arguments: tuple[Any, ...] = (hyperparameters, {}, log)
    try:
        return kind(*arguments[: len(inspect.signature(kind).parameters)])
    except Exception as error:
        raise SearchError(f"{file}: {type(error).__name__}: {error}.", _HINT) from error


def _key(configuration: Configuration) -> _Key:
    return tuple(sorted(configuration.items()))
