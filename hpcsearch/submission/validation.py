"""Checks the problem and the run function in processes of their own, both at once, within a time limit."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpcsearch.errors import LoadError
from hpcsearch.evaluation import Configuration
from hpcsearch.submission.children import Child, EndedEarlyError, TooSlowError
from hpcsearch.submission.request import Request


@dataclass(frozen=True)
class Checked:
    """What submit needs to know of the user's files. Without imports ``names``, ``design`` and ``spares`` are empty.

    ``planned`` is how many configurations the search will suggest in all, where it has an end; infinite when there are
    too many to be counted.
    """

    problem: str
    run: str
    names: tuple[str, ...]
    minimize: bool
    design: tuple[Configuration, ...]
    spares: tuple[Configuration, ...] = ()
    planned: float | None = None
    sized: bool = True  # whether the run function says what evaluations need; also where that is not known


class Validation:
    """Two processes, started at once on entering and gone on leaving, whatever happened."""

    def __init__(self, request: Request, cwd: Path) -> None:
        self._request = request
        self._cwd = cwd

    def __enter__(self) -> Self:
        request = self._request
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hpcsearch-submit-")))
            search = {
                "search": request.search,
                "search_arguments": dict(request.search_arguments),
                "stopper": request.stopper,
                "stopper_arguments": dict(request.stopper_arguments),
                "seed": request.seed,
                "slots": request.at_once,
                "max_evals": request.max_evals,
                "max_success": request.max_success,
                "smoke": request.smoke,
            }
            self._problem = self._started(undo, folder, "problem", request.problem, search)
            self._run = self._started(undo, folder, "run", request.run, {"mpi": request.job_mode == "mpi"})
            self._stack = undo.pop_all()
        return self

    def _started(
        self, undo: contextlib.ExitStack, folder: Path, kind: str, reference: str, more: dict[str, Any]
    ) -> Child:
        child = Child(kind, self._cwd, folder, self._request.import_limit_s, {"reference": reference, **more})
        undo.callback(child.end)
        return child

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def problem(self) -> dict[str, Any]:
        """What is known of the problem; raises LoadError, ProblemError, SearchError."""
        answer = self._answer(self._problem, "problem", self._request.problem)
        self._run.tell(json.dumps(answer["names"]))
        return answer

    def run(self) -> dict[str, Any]:
        """What is known of the run function, after ``problem``; raises LoadError."""
        return self._answer(self._run, "run", self._request.run)

    def _answer(self, child: Child, kind: str, reference: str) -> dict[str, Any]:
        try:
            return child.answer()
        except TooSlowError:
            raise LoadError(
                f"{reference} was not imported within {self._request.import_limit_s:g} s.",
                "Move work out of the module's top level into the function, or type --import-limit or --no-import.",
            ) from None
        except EndedEarlyError as end:
            said = "".join(f" It said last: {line.strip()}" for line in child.output(1))
            raise LoadError(
                f"Importing {reference} ended the process with {end.how}.{said}",
                f"Try 'python -c' with the same import; a {kind} file must come back from being imported.",
            ) from None
