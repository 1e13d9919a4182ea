"""Several objectives: which finished evaluations no other one beats in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hpcsearch.errors import UsageError
from hpcsearch.evaluation import State
from hpcsearch.objectives import SENSES, split

_HINT = "Type --pareto NAME:max,OTHER:min, with names that the run function returned, or objective."


class Evaluated(Protocol):
    """What is read of an evaluation."""

    @property
    def state(self) -> State: ...

    @property
    def objective(self) -> float | None: ...

    @property
    def metadata(self) -> Mapping[str, Any]: ...


Item = TypeVar("Item", bound=Evaluated)


@dataclass(frozen=True)
class Goal:
    """An objective by its name; ``sign`` is 1 where greater is better, else -1."""

    name: str
    sign: float

    def of(self, evaluation: Evaluated) -> float | None:
        """Its value, None where there is no finite number under its name."""
        value = evaluation.objective if self.name == "objective" else evaluation.metadata.get(self.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value)


def parse_goals(text: str, minimize: bool, named: Iterable[str] = ()) -> list[Goal]:
    """Goals as they are typed, ``accuracy:max,latency:min``.

    Without a sense it is the one under which the run function ``named`` the objective, else that of the problem.

    Raises:
        UsageError: a name is missing or comes twice, or a sense is none.
    """
    goals: list[Goal] = []
    senses = dict(map(split, named))
    for part in text.split(","):
        name, _, sense = part.strip().partition(":")
        if not name or sense not in ("", *SENSES):
            raise UsageError(f"{part.strip()!r} is not NAME, NAME:min or NAME:max.", _HINT)
        if name in {goal.name for goal in goals}:
            raise UsageError(f"{name} is among the objectives twice.", _HINT)
        goals.append(Goal(name, SENSES[sense] if sense else senses.get(name) or (-1.0 if minimize else 1.0)))
    return goals


def pareto_front(evaluations: Iterable[Item], goals: Sequence[Goal]) -> list[Item]:
    """The finished evaluations that no other one equals or beats in all goals and beats in one, by the first goal.

    Those without a number for one of the goals do not take part.

    Raises:
        UsageError: no finished evaluation has a number for some goal.
    """
    finished = [one for one in evaluations if one.state is State.FINISHED]
    for goal in goals:
        if finished and all(goal.of(one) is None for one in finished):
            known = sorted({name for one in finished for name in one.metadata if Goal(name, 1.0).of(one) is not None})
            raise UsageError(
                f"No finished evaluation has a number {goal.name!r}.", f"There are: {', '.join(['objective', *known])}."
            )
    scored = []
    for one in finished:
        values = [goal.of(one) for goal in goals]
        if None not in values:
            scored.append((tuple(goal.sign * (value or 0.0) for goal, value in zip(goals, values, strict=True)), one))
    scored.sort(key=lambda pair: pair[0], reverse=True)  # so nothing is beaten by what comes after it
    front: list[tuple[tuple[float, ...], Item]] = []
    for score, one in scored:
        if not any(beats(other, score) for other, _ in front):
            front.append((score, one))
    return [one for _, one in front]


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether it is no worse in all and better in some; greater is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)
