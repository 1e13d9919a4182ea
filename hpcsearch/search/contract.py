"""Whether a strategy keeps the contract: run against any class, by name or file, in a test or from a shell.

    python -m hpcsearch.search.contract path/to/file.py:Class [NAME=VALUE ...]

In a test of your own::

    from hpcsearch.search.contract import check

    def test_climber() -> None:
        check("climber.py:Climber")
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import ConfigSpace as cs

from hpcsearch.errors import HpcsearchError, SearchError
from hpcsearch.evaluation import Configuration
from hpcsearch.problem import HpProblem
from hpcsearch.search.asktell import Search
from hpcsearch.search.base import Objectives, objectives_of
from hpcsearch.search.registry import create
from hpcsearch.search.values import Told

#: Sizes of the asks of a check: single ones, batches, more than was ever told.
_ASKS = (1, 3, 8, 1, 16, 2, 5)

Problem = Callable[[], HpProblem]


def floats() -> HpProblem:
    """Ranges, one of them logarithmic."""
    problem = HpProblem()
    problem.add_hyperparameter((0.0, 1.0), "x")
    problem.add_hyperparameter((1e-5, 1.0, "log-uniform"), "lr")
    return problem


def mixed() -> HpProblem:
    """All kinds of hyperparameters, and an objective to be minimised."""
    problem = HpProblem(minimize=True)
    problem.add_hyperparameter((1, 1000, "log-uniform"), "units")
    problem.add_hyperparameter(["relu", "tanh", True], "activation")
    problem.add_hyperparameter([16, 32, 64], "batch")
    problem.add_hyperparameter((0.0, 0.5), "dropout")
    problem.add_hyperparameter(7, "constant")
    return problem


def conditional() -> HpProblem:
    """Two hyperparameters that are active for some values of another one only."""
    problem = HpProblem()
    kernel = problem.add_hyperparameter(["linear", "rbf", "poly"], "kernel")
    gamma = problem.add_hyperparameter((1e-3, 10.0, "log-uniform"), "gamma")
    degree = problem.add_hyperparameter((2, 5), "degree")
    problem.add_condition(cs.InCondition(gamma, kernel, ["rbf", "poly"]))
    problem.add_condition(cs.EqualsCondition(degree, kernel, "poly"))
    return problem


def forbidden() -> HpProblem:
    """Half of the space is forbidden."""
    problem = HpProblem()
    solver = problem.add_hyperparameter(["a", "b"], "solver")
    size = problem.add_hyperparameter((1, 100), "size")
    problem.add_hyperparameter((0.0, 1.0), "rate")
    small = cs.ForbiddenInClause(size, list(range(2, 50)))
    problem.add_forbidden_clause(cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(solver, "b"), small))
    return problem


def finite() -> HpProblem:
    """Fifteen configurations in all."""
    problem = HpProblem()
    problem.add_hyperparameter((1, 5), "n")
    problem.add_hyperparameter(["a", "b", "c"], "k")
    return problem


#: The spaces that a strategy is checked on.
PROBLEMS: Mapping[str, Problem] = {one.__name__: one for one in (floats, mixed, conditional, forbidden, finite)}


def check(strategy: str, **arguments: Any) -> list[str]:
    """Checks a strategy by name or as ``path/to/file.py:Class``; returns what was checked, one sentence for each.

    Raises:
        SearchError: the strategy breaks the contract, and how.
    """
    said = []
    for rule in _RULES:
        for name, problem in PROBLEMS.items():
            try:
                rule(lambda seed=0, of=problem: create(strategy, of(), seed=seed, **arguments))
            except HpcsearchError as error:
                raise SearchError(f"On the space {name!r}: {error.message}", error.hint) from error
            except Exception as error:
                kind = type(error).__name__
                raise SearchError(
                    f"On the space {name!r} the strategy raised {kind}: {error}.", f"Checked was: {rule.__doc__}"
                ) from error
        said.append(str(rule.__doc__))
    return said


def suggests_what_is_legal(make: Callable[..., Search]) -> None:
    """It suggests legal configurations of plain values, with results and failures told between the asks."""
    search = make()
    for _, asked in _cycles(search):
        for configuration in asked:
            _legal(search, configuration)


def suggests_something_itself(make: Callable[..., Search]) -> None:
    """What it suggests is legal before the search around it drops anything, and some of it is new."""
    search = make()
    known: set[str] = set()
    fresh = 0
    for _, asked in _cycles(search):
        for configuration in search.strategy.ask(4):
            _legal(search, dict(configuration))
            fresh += _key(configuration) not in known
        known.update(_key(configuration) for configuration in asked)
    if not fresh and not search.exhausted:
        _broken("whatever it suggests is known already.", "ask() may repeat itself, but not always.")


def repeats_itself_for_a_seed(make: Callable[..., Search]) -> None:
    """The same seed and the same calls give the same configurations."""
    first, second = ([_key(one) for _, asked in _cycles(make(seed=3)) for one in asked] for _ in range(2))
    if first != second:
        _broken("with the same seed, the same calls give other configurations.", "Draw from setting.random alone.")


def goes_on_after_a_resume(make: Callable[..., Search]) -> None:
    """A resumed search, told all at once and out of order, suggests nothing that is told or pending."""
    before, known = make(), list[Configuration]()
    for _, asked in _cycles(before):
        known += asked
    resumed = make()
    resumed.tell([(one, _objective(one)) for one in known[::-2]])
    resumed.pending(known[-2::-2])
    again = resumed.ask(6)
    if {_key(one) for one in again} & {_key(one) for one in known}:
        _broken("after a resume it suggests what is known.", "The search around it should have dropped these.")
    resumed.tell([(one, _objective(one)) for one in (*known, *again)])
    if not resumed.exhausted and not resumed.ask(2):
        _broken("after a resume it has nothing to suggest.", "ask(n) is called until the space is exhausted.")


def goes_by_the_objectives_that_it_says(make: Callable[..., Search]) -> None:
    """Of several objectives it goes by those that it says: all, the first, or none."""
    said = objectives_of(make().strategy)
    if said not in get_args(Objectives):
        _broken(f"its objectives are {said!r}.", f"Known: {', '.join(get_args(Objectives))}.")
    searches = [make(seed=5) for _ in range(3)]
    values = (_with_second(1.0), _with_second(-1.0), lambda _: 0.0)
    along, against, none = (
        [_key(one) for _, asked in _cycles(search, value) for one in asked]
        for search, value in zip(searches, values, strict=True)
    )
    if said == "any" and along != none:
        _broken('it says objectives = "any", but learns from results.', 'Say "first", or "several".')
    if said == "several" and along == against and not searches[0].exhausted:
        _broken('it says objectives = "several", but the second one changes nothing.', 'Say "first", or nothing.')


def outlives_failures(make: Callable[..., Search]) -> None:
    """It goes on where every evaluation fails, and asks need not be answered before the next one."""
    search = make()
    waiting: list[Configuration] = []
    for size in (*_ASKS, 40):
        waiting += search.ask(size)
    search.tell([(configuration, None) for configuration in waiting])
    if not search.exhausted and not search.ask(3):
        _broken("it has nothing to suggest where everything fails.", "None is a failure, not the end.")


_RULES: tuple[Callable[[Callable[..., Search]], None], ...] = (
    suggests_what_is_legal,
    suggests_something_itself,
    repeats_itself_for_a_seed,
    goes_on_after_a_resume,
    outlives_failures,
    goes_by_the_objectives_that_it_says,
)


def _cycles(
    search: Search, value: Callable[[Configuration], Told] | None = None
) -> Iterator[tuple[int, list[Configuration]]]:
    """Asks of all sizes; the results of each come after the next, as with asynchronous workers, every fifth failing."""
    waiting: list[Configuration] = []
    for size in _ASKS:
        asked = search.ask(size)
        yield size, asked
        search.tell([(configuration, (value or _objective)(configuration)) for configuration in waiting])
        waiting = asked
        if search.exhausted:
            return


def _objective(configuration: Mapping[str, Any]) -> float | None:
    numbers = [float(value) for value in configuration.values() if isinstance(value, (int, float))]
    return None if len(_key(configuration)) % 5 == 0 else sum(numbers, 0.0)


def _with_second(factor: float) -> Callable[[Configuration], Told]:
    """The objective and ``factor`` times the same beside it; of some the first one alone is known."""

    def value(configuration: Configuration) -> Told:
        first = _objective(configuration)
        alone = len(_key(configuration)) % 7 == 0
        return first if alone or first is None else {"first": first, "second": factor * first}

    return value


def _legal(search: Search, configuration: Configuration) -> None:
    plain = {type(value) for value in configuration.values()} <= {int, float, str, bool, type(None), list}
    if not plain or not all(isinstance(name, str) for name in configuration):
        _broken(f"{configuration} has values that JSON does not know.", "Encoding.decode gives plain values.")
    encoding = search.encoding
    if not encoding.legal(encoding.encode([configuration]))[0]:
        hint = "setting.encoding.complete and legal tell; an inactive hyperparameter is left out."
        _broken(f"{configuration} is not legal.", hint)


def _key(configuration: Mapping[str, Any]) -> str:
    return json.dumps(configuration, sort_keys=True)


def _broken(what: str, hint: str) -> None:
    raise SearchError(what, hint)


def main() -> int:
    """Checks what the command line names, and says what holds."""
    if not sys.argv[1:]:
        print(__doc__)
        return 2
    arguments = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
    try:
        for sentence in check(sys.argv[1], **arguments):
            print(f"OK  {sentence}")
    except HpcsearchError as error:
        print(f"Error: {error.message}\n{error.hint}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
