"""A process of its own for the user's code: with a time limit, its output kept aside, and nothing left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hpcsearch import errors


class TooSlowError(Exception):
    """The process has not answered in time."""


class EndedEarlyError(Exception):
    """The process ended without an answer: ``how``, in words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Child:
    """A running ``hpcsearch.submission.child``.

    Args:
        kind: what it is to do.
        cwd: where.
        folder: where its answer and its output go.
        limit_s: how long it may take (seconds).
        arguments: what it needs to know.
    """

    def __init__(self, kind: str, cwd: Path, folder: Path, limit_s: float, arguments: dict[str, Any]) -> None:
        self._answer, self._output = folder / f"{kind}.json", folder / f"{kind}.out"
        whole = {"cwd": str(cwd), "answer": str(self._answer), **arguments}
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
        """Gives it the one line that it may wait for."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: its answer says why
            stdin.write(line + "\n")
            stdin.close()

    def answer(self) -> dict[str, Any]:
        """What it answers, as soon as it has ended.

        Raises:
            HpcsearchError: what it says is wrong.
            TooSlowError: it takes too long.
            EndedEarlyError: it ended without an answer.
        """
        try:
            status = self._process.wait(max(0.0, self._until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TooSlowError from None
        if status != 0 or not self._answer.exists():  # what it has not finished writing is no answer
            raise EndedEarlyError(f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}")
        answer: dict[str, Any] = json.loads(self._answer.read_text(encoding="utf-8"))
        if "error" in answer:
            kind: type[errors.HpcsearchError] = getattr(errors, answer["error"])
            raise kind(answer["message"], answer["hint"])
        return answer

    def output(self, lines: int) -> list[str]:
        """The last lines of what it has printed."""
        text = self._output.read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-lines:]

    def end(self) -> None:
        """Kills it with all that it started in its group, and waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
