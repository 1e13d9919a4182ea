"""Searches that have only so many configurations: what is said of their number, and asked for when it is large."""

from __future__ import annotations

import math
from collections.abc import Callable

from hpcsearch.errors import UsageError
from hpcsearch.submission.request import Request
from hpcsearch.submission.steps import Steps

#: More evaluations than this are confirmed.
MANY = 1_000

#: Asks a question that is answered by yes or no.
Confirm = Callable[[str], bool]


def announce_size(request: Request, planned: float | None, steps: Steps) -> None:
    """Says how many configurations there are, and what the budget makes of that."""
    if planned is None:
        return
    name, budget = request.search, request.max_evals
    if math.isinf(planned):
        text = f"The {name} has more configurations than can be counted."
    else:
        text = f"The {name} has {planned:,.0f} configuration{'' if planned == 1 else 's'}."
    if budget is not None and budget < planned:
        text += f" The first {budget:,} of them are evaluated (--max-evals)."
    elif budget is not None and budget > planned:
        text += f" These are fewer than --max-evals {budget:,}: the search is done when all have been evaluated."
    steps.say(text)


def confirm_size(request: Request, planned: float | None, confirm: Confirm | None) -> None:
    """Asks before many configurations are evaluated.

    Raises:
        UsageError: there are many, and they were not confirmed, or there is nobody to be asked.
    """
    wanted = min(0 if planned is None else planned, math.inf if request.max_evals is None else request.max_evals)
    if wanted <= MANY or request.yes:
        return
    number = "more configurations than can be counted" if math.isinf(wanted) else f"{wanted:,.0f} configurations"
    hint = "Type --yes to evaluate them all, or ask for fewer with --max-evals or --search-arg."
    if confirm is None:
        raise UsageError(f"The {request.search} would evaluate {number}, and that was not confirmed.", hint)
    if not confirm(f"Evaluate {number}?"):
        raise UsageError("Nothing was submitted.", hint)
