"""Checks the problem and the run function in processes of their own, both at once, within a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpcsearch import errors
from hpcsearch.errors import LoadError
from hpcsearch.evaluation import Configuration
from hpcsearch.submission.request import Request


@dataclass(frozen=True)
class Checked:
    """What submit needs to know of the user's files. Without imports ``names``, ``design`` and ``spares`` are empty."""

    problem: str
    run: str
    names: tuple[str, ...]
    minimize: bool
    design: tuple[Configuration, ...]
    spares: tuple[Configuration, ...] = ()


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
                "seed": request.seed,
                "slots": request.nodes * request.evals_per_node,
                "max_evals": request.max_evals,
            }
            limit_s = request.import_limit_s
            self._problem = _Child("problem", request.problem, self._cwd, folder, limit_s, search)
            undo.callback(self._problem.end)
            self._run = _Child("run", request.run, self._cwd, folder, limit_s, {})
            undo.callback(self._run.end)
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def problem(self) -> dict[str, Any]:
        """What is known of the problem; raises LoadError, ProblemError, SearchError."""
        answer = self._problem.answer()
        self._run.tell(json.dumps(answer["names"]))
        return answer

    def run(self) -> dict[str, Any]:
        """What is known of the run function, after ``problem``; raises LoadError."""
        return self._run.answer()


class _Child:
    def __init__(
        self, kind: str, reference: str, cwd: Path, folder: Path, limit_s: float, arguments: dict[str, Any]
    ) -> None:
        self._kind, self._reference, self._limit_s = kind, reference, limit_s
        self._answer, self._output = folder / f"{kind}.json", folder / f"{kind}.out"
        whole = {"reference": reference, "cwd": str(cwd), "answer": str(self._answer), **arguments}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hpcsearch.submission.child", kind, json.dumps(whole)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                process_group=0,
                text=True,
            )
        self._until_s = time.monotonic() + limit_s

    def tell(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: its answer says why
            stdin.write(line + "\n")
            stdin.close()

    def answer(self) -> dict[str, Any]:
        try:
            status = self._process.wait(max(0.0, self._until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LoadError(
                f"{self._reference} was not imported within {self._limit_s:g} s.",
                "Move work out of the module's top level into the function, or type --import-limit or --no-import.",
            ) from None
        if not self._answer.exists():
            raise self._ended_early(status)
        answer: dict[str, Any] = json.loads(self._answer.read_text(encoding="utf-8"))
        if "error" in answer:
            kind: type[errors.HpcsearchError] = getattr(errors, answer["error"])
            raise kind(answer["message"], answer["hint"])
        return answer

    def _ended_early(self, status: int) -> LoadError:
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        said = f" It said last: {lines[-1].strip()}" if lines else ""
        return LoadError(
            f"Importing {self._reference} ended the process with {how}.{said}",
            f"Try 'python -c' with the same import; a {self._kind} file must come back from being imported.",
        )

    def end(self) -> None:
        """Kills it with all that it started in its group, and waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
