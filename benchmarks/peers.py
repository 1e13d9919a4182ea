"""Peers as strategies: ``peers.py:Cbo`` is DeepHyper's centralised Bayesian optimisation, ``peers.py:Smac`` is SMAC3's.

Each needs an environment that has the peer, hpcsearch and scikit-learn; samplers of Optuna are strategies already.
"""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

from hpcsearch.evaluation import Configuration
from hpcsearch.search.base import Outcome, Setting


class Cbo:
    """DeepHyper's CBO as it comes: extremely randomised trees, upper confidence bound, qUCBd for several at once.

    Args:
        setting: problem, encoding, source of chance.
        optimizer: how it seeks the best of the acquisition function: ``auto`` (a genetic algorithm), or ``sampling``,
            which is much faster.
    """

    def __init__(self, setting: Setting, optimizer: str = "mixedga") -> None:
        self._setting = setting
        self._optimizer = optimizer
        self._folder = tempfile.TemporaryDirectory()
        self._search: Any = None
        self._own: dict[Hashable, dict[str, Any]] = {}  # what CBO calls a configuration, with all that is inactive

    def ask(self, n: int) -> Sequence[Configuration]:
        encoding = self._setting.encoding
        asked = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for own in self._started().ask(n):
                given = {name: value for name, value in own.items() if not _nothing(value)}
                row = encoding.encode([given])
                row[~encoding.active(row)] = math.nan
                configuration = encoding.decode(row)[0]
                self._own[encoding.key(configuration)] = own
                asked.append(configuration)
        return asked

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """It does not know what is pending."""

    def tell(self, results: Sequence[Outcome]) -> None:
        search, told = self._started(), []
        for configuration, objective in results:
            own = self._own.get(self._setting.encoding.key(configuration))
            if own is None:
                own = {**dict.fromkeys(search._problem.hyperparameter_names, "NA"), **configuration}
            told.append((own, "F_failed" if objective is None else objective))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.tell(told)

    def _started(self) -> Any:
        if self._search is None:
            from deephyper.hpo import CBO, HpProblem

            logging.disable(logging.WARNING)
            seed = int(self._setting.random.integers(2**31))
            self._search = CBO(
                HpProblem(self._setting.problem.space),
                random_state=seed,
                log_dir=self._folder.name,
                checkpoint_history_to_csv=False,
                acq_optimizer=self._optimizer,
            )
        return self._search


class Smac:
    """SMAC3's facade for hyperparameters: a random forest, expected improvement, an initial Sobol design.

    Args:
        setting: problem, encoding, source of chance.
        budget: evaluations that it reckons with; a quarter of them at most is its initial design.
    """

    def __init__(self, setting: Setting, budget: int = 100) -> None:
        self._setting = setting
        self._budget = budget
        self._facade: Any = None
        self._asked: dict[Hashable, Any] = {}
        self._worst = 1.0  # what a failure is told to cost: it takes no infinite costs

    def ask(self, n: int) -> Sequence[Configuration]:
        asked = []
        for _ in range(n):
            trial = self._started().ask()
            configuration = self._setting.encoding.decode(self._setting.encoding.encode([dict(trial.config)]))[0]
            self._asked[self._setting.encoding.key(configuration)] = trial
            asked.append(configuration)
        return asked

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """It knows what it has proposed."""

    def tell(self, results: Sequence[Outcome]) -> None:
        from ConfigSpace import Configuration as SmacConfiguration
        from smac.runhistory import StatusType, TrialInfo, TrialValue

        facade = self._started()
        for configuration, objective in results:
            trial = self._asked.pop(self._setting.encoding.key(configuration), None)
            if trial is None:
                trial = TrialInfo(SmacConfiguration(self._space, values=configuration), seed=0)
            if objective is None:
                facade.tell(trial, TrialValue(self._worst, status=StatusType.CRASHED))
            else:
                self._worst = max(self._worst, -objective)
                facade.tell(trial, TrialValue(-objective))

    def _started(self) -> Any:
        if self._facade is None:
            from smac import HyperparameterOptimizationFacade as Facade
            from smac import Scenario

            logging.disable(logging.CRITICAL)
            self._space = self._setting.problem.space
            scenario = Scenario(
                self._space,
                n_trials=self._budget,
                deterministic=True,
                seed=int(self._setting.random.integers(2**31)),
                output_directory=tempfile.mkdtemp(),
            )
            self._facade = Facade(scenario, lambda config, seed=0: 0.0, logging_level=False, overwrite=True)
        return self._facade


def _nothing(value: Any) -> bool:
    """Whether CBO says by this that a hyperparameter is inactive."""
    return (
        value is None or (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and value == "NA")
    )
