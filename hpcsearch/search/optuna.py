"""Any sampler of Optuna as a strategy: ``--search optuna --search-arg sampler=gp``."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.trial import Trial, TrialState

from hpcsearch.errors import SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting
from hpcsearch.search.columns import Array, Column

#: What asynchronous workers and spaces of mixed kinds want, unless something else is asked for.
_DEFAULTS: dict[str, dict[str, Any]] = {"TPESampler": {"constant_liar": True, "multivariate": True, "group": True}}

#: What is taken for an argument whose default is of such a type.
_FITTING: dict[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (float, int)}

#: How often a suggestion that is forbidden is asked for again before the ask gives up on it.
_TRIES = 20


class OptunaSearch:
    """A study whose trials are asked for and told one by one.

    Args:
        setting: problem, encoding, source of chance.
        sampler: the name of a class of ``optuna.samplers``, ``Sampler`` and capitals left out: tpe, gp, cmaes, qmc.
        options: arguments of the sampler.
    """

    def __init__(self, setting: Setting, sampler: str = "tpe", **options: Any) -> None:
        self._setting = setting
        self._class = _sampler_class(sampler)
        self._options = _checked(sampler, self._class, options)
        self._study: Any = None
        space = setting.problem.space
        self._parameters = [_Parameter(column, space[column.name]) for column in setting.encoding.columns]
        self._suggested: dict[Hashable, Trial] = {}
        self._running: dict[Hashable, Trial] = {}
        self._past: list[Outcome] = []  # what was told before the first ask

    def ask(self, n: int) -> Sequence[Configuration]:
        study = self._started()
        for trial in self._suggested.values():  # known already, so it was not taken
            study.tell(trial, state=TrialState.FAIL)
        self._suggested = {}
        asked: list[Configuration] = []
        with _quiet():
            for _ in range(n * _TRIES):
                trial = study.ask()
                row = self._row(trial)
                if not self._setting.encoding.allowed(row)[0]:
                    study.tell(trial, state=TrialState.FAIL)
                    continue
                asked += self._setting.encoding.decode(row)
                self._keep(trial, asked[-1])
                if len(asked) == n:
                    break
        return asked

    def pending(self, configurations: Sequence[Configuration]) -> None:
        for configuration in configurations:
            key = self._setting.encoding.key(configuration)
            if key not in self._suggested:
                self._suggested[key] = self._imposed(configuration)
            self._running[key] = self._suggested.pop(key)

    def tell(self, results: Sequence[Outcome]) -> None:
        if self._study is None:
            self._past.extend(results)
            return
        for configuration, objective in results:
            trial = self._running.pop(self._setting.encoding.key(configuration), None)
            if trial is None:
                trial = self._imposed(configuration)
            with _quiet():
                state = TrialState.COMPLETE if objective is not None else TrialState.FAIL
                self._study.tell(trial, objective, state=state)

    def _started(self) -> Any:
        """The study; a sampler draws its seed when it is made, so it is made by the first ask."""
        if self._study is None:
            options = dict(self._options)
            if "seed" in inspect.signature(self._class).parameters:
                options.setdefault("seed", int(self._setting.random.integers(2**31)))
            with _quiet():
                self._study = optuna.create_study(direction="maximize", sampler=self._class(**options))
            past, self._past = self._past, []
            self.tell(past)
        return self._study

    def _keep(self, trial: Trial, configuration: Configuration) -> None:
        key = self._setting.encoding.key(configuration)
        if key in self._suggested or key in self._running:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._suggested[key] = trial

    def _imposed(self, configuration: Configuration) -> Trial:
        """A running trial of a configuration that no sampler suggested."""
        row = self._setting.encoding.encode([configuration])[0]
        study, named = self._started(), zip(self._parameters, row.tolist(), strict=True)
        study.enqueue_trial({one.name: one.value(number) for one, number in named if not np.isnan(number)})
        with _quiet():
            trial: Trial = study.ask()
            self._row(trial)
        return trial

    def _row(self, trial: Trial) -> Array:
        """What the sampler suggests; parents come before what depends on them."""
        encoding = self._setting.encoding
        row = np.full((1, len(self._parameters)), np.nan)
        for index, parameter in enumerate(self._parameters):
            if not encoding.constrained or encoding.active(row)[0, index]:
                row[0, index] = parameter.suggest(trial)
        return row


def _sampler_class(name: str) -> type[optuna.samplers.BaseSampler]:
    found = {
        entry.lower().removesuffix("sampler"): entry
        for entry in optuna.samplers.__all__
        if entry.endswith("Sampler") and not entry.startswith("Base")
    }
    wanted = name.lower().removesuffix("sampler")
    if wanted not in found:
        near = difflib.get_close_matches(wanted, found, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise SearchError(f"Optuna has no sampler {name!r}.{guess}", f"Its samplers: {', '.join(sorted(found))}.")
    return getattr(optuna.samplers, found[wanted])  # type: ignore[no-any-return]


def _checked(name: str, sampler: type[optuna.samplers.BaseSampler], options: dict[str, Any]) -> dict[str, Any]:
    """The sampler's arguments: text is read as YAML reads it (5, 0.5, true)."""
    known = inspect.signature(sampler).parameters
    read = {key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in options.items()}
    for key, value in read.items():
        if key not in known:
            raise SearchError(f"Optuna's sampler {name!r} has no argument {key!r}.", f"It has {', '.join(known)}.")
        kind = type(known[key].default)
        if kind in (bool, int, float) and not isinstance(value, _FITTING[kind]):
            raise SearchError(
                f"Argument {key}={value} of Optuna's sampler {name!r} is not of type {kind.__name__}.",
                f"By default it is {known[key].default}.",
            )
    chosen = {**_DEFAULTS.get(sampler.__name__, {}), **read}
    try:
        with _quiet():
            sampler(**chosen)
    except Exception as error:
        raise SearchError(
            f"Optuna's sampler {name!r} cannot be made: {error}.", "Its documentation tells why."
        ) from error
    return chosen


class _Parameter:
    """One hyperparameter as Optuna sees it: numeric ones by value, choices by their place in the list."""

    def __init__(self, column: Column, hyperparameter: Any) -> None:
        self.name = column.name
        self._column = column
        self._of = hyperparameter
        self._numeric = hasattr(hyperparameter, "log")

    def suggest(self, trial: Trial) -> float:
        """The number, as rows have it, of what the sampler suggests."""
        least, most = self._column.reach
        if self._numeric:
            suggest = trial.suggest_float if np.isinf(self._column.size) else trial.suggest_int
            value: Any = suggest(self.name, self._of.lower, self._of.upper, log=self._of.log)
            return float(self._column.numbers([value])[0])
        if self._column.ordered and self._column.size > 2:
            return float(least + trial.suggest_int(self.name, 0, int(most - least)))
        return float(least + trial.suggest_categorical(self.name, range(int(most - least) + 1)))

    def value(self, number: float) -> Any:
        """What the sampler would have had to suggest for a number."""
        if self._numeric:
            return self._column.values(np.array([number]))[0]
        return int(number - self._column.reach[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's remarks on what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
