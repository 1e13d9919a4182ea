"""The contract between a search and its strategies.

A :class:`Strategy` only suggests and learns. What holds for every search stands around it, once, in
:class:`hpcsearch.search.asktell.Search`: starting points first, no configuration twice, the end of a finite space, the
problem's sense, what counts as a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from hpcsearch.evaluation import Configuration

if TYPE_CHECKING:
    import numpy as np
    from ConfigSpace import ConfigurationSpace

    from hpcsearch.search.encoding import Encoding

#: A configuration and what came of it; ``None`` means that the evaluation failed.
Outcome = tuple[Configuration, float | None]

#: The same for a strategy that takes several objectives: all of them as a tuple, or the first alone.
SeveralOutcome = tuple[Configuration, float | tuple[float, ...] | None]

#: Which of several objectives a strategy goes by. "any" is for one that looks at no objective at all.
Objectives = Literal["first", "several", "any"]


class SearchProblem(Protocol):
    """What a search reads of a problem (:class:`hpcsearch.HpProblem` has it)."""

    @property
    def space(self) -> ConfigurationSpace: ...

    @property
    def starting_points(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def minimize(self) -> bool: ...


@dataclass(frozen=True)
class Setting:
    """What a strategy is given when it is made.

    Attributes:
        problem: the problem to be searched.
        encoding: draws legal configurations and turns them into vectors and back.
        random: the only source of chance to use. It is seeded anew at the first ask, from the seed and the number of
            configurations known by then, so that a resumed search does not repeat its beginning: draw nothing before.
        seed: the search's seed, for what must go on with the same sequence after a resume; None: a new one each time.
        background: work that takes more than a few milliseconds belongs into a thread, and ``ask`` answers from what is
            ready. Without it all work is done in the call, and the same calls give the same answers.
    """

    problem: SearchProblem
    encoding: Encoding
    random: np.random.Generator
    background: bool = False
    seed: int | None = None


class Strategy(Protocol):
    """Suggests configurations and learns from results; made as ``Class(setting, **arguments)``.

    The arguments after ``setting`` are the strategy's settings: name them, give each a default and annotate them with
    ``int``, ``float``, ``bool`` or ``str`` (or one of these and ``None``), and they can be set on the command line.
    One thread at a time calls these methods.
    """

    def ask(self, n: int) -> Sequence[Configuration]:
        """Suggests up to ``n`` legal configurations, best first.

        Nothing is placed by this: what is taken comes back through :meth:`pending`. Suggestions that are known already
        are dropped, and ``ask`` is called again; what is missing after a few calls is drawn at random.
        """
        ...

    def pending(self, configurations: Sequence[Configuration]) -> None:
        """These are placed now and their results will follow.

        They are the strategy's own suggestions, starting points, random ones, or known from an earlier allocation.
        """
        ...

    def tell(self, results: Sequence[Outcome]) -> None:
        """These have ended.

        An objective is finite and greater is better, whatever the problem's sense; ``None`` is a failure. Of several
        named ones it is the first, unless the strategy is a :class:`SeveralObjectivesStrategy`.
        Each configuration is told once. It may never have been pending: a resumed search is told all that is recorded.
        """
        ...


@runtime_checkable
class WatchingStrategy(Strategy, Protocol):
    """A strategy that also learns from evaluations while they run, where a stopping rule lets them report."""

    def progress(self, results: Sequence[Outcome]) -> None:
        """So far have these come that are pending; each is told in the end, which replaces this.

        What was stopped is told with the value of a part, so those that go on can be compared with it by theirs.
        """
        ...


class SeveralObjectivesStrategy(Strategy, Protocol):
    """A strategy that says which of several objectives it goes by; one that does not goes by the first.

    With ``objectives = "several"`` it is told all of them, in the order in which the run function first named them, and
    should find what no other configuration beats in all. ``"any"`` tells users that it learns from none.
    """

    objectives: Objectives

    def tell(self, results: Sequence[SeveralOutcome]) -> None:
        """These have ended, see :meth:`Strategy.tell`.

        Several objectives are a tuple, always of the same length, all finite, greater is better. A number is the first
        one, where the others are not known: of what was stopped early, or returned other objectives than the rest. With
        only one objective there are numbers alone.
        """
        ...


def objectives_of(strategy: object) -> Objectives:
    """Which of several objectives a strategy, or a class of strategies, goes by."""
    said: Objectives = getattr(strategy, "objectives", "first")
    return said


@runtime_checkable
class FiniteStrategy(Strategy, Protocol):
    """A strategy that has only so many configurations to suggest: the search ends with the last of them.

    It suggests each once, whatever is known already, and nothing is drawn at random behind it.
    """

    #: Whether the last ``ask`` has come to the end.
    exhausted: bool

    @property
    def size(self) -> float | None:
        """How many there are: announced before they are run. Infinite where that takes too long to tell.

        None where it depends on the results. Such a strategy may also suggest nothing before it is told more.
        """
        ...
