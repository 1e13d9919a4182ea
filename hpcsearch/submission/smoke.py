"""``--smoke`` on the spot: one configuration is run before anything is made or submitted."""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import Any

from hpcsearch.errors import SmokeError, UsageError
from hpcsearch.sites import Site
from hpcsearch.sites.duration import format_duration
from hpcsearch.submission.children import Child, EndedEarlyError, TooSlowError
from hpcsearch.submission.request import Request
from hpcsearch.submission.steps import Steps
from hpcsearch.submission.validation import Checked

#: So many lines of what a run function has printed are shown when it fails.
_SHOWN_LINES = 40


def tried_here(request: Request, site: Site) -> bool:
    """Whether an evaluation is one process and runs on this machine, so that it can be tried out before all else."""
    one = request.job_mode == "serial" and request.ranks_per_node == 1 and request.data_parallel is None
    return site.scheduler == "local" and one


def refuse_impossible(request: Request, site: Site) -> None:
    """Raises UsageError when there is nothing that could be run here."""
    if request.smoke and request.no_import and tried_here(request, site):
        raise UsageError(
            "--smoke runs one configuration here, and with --no-import nothing is imported here.",
            "Leave out one of the two.",
        )


def try_out(request: Request, checked: Checked, cwd: Path, steps: Steps) -> None:
    """Runs the first configuration in a process of its own; nothing is left of it.

    It has the time limit of an evaluation, or the whole walltime where there is none.

    Raises:
        SmokeError: it gave no objective, or not in time.
    """
    evaluation_s = request.eval_timeout_s or float(request.walltime_s)
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hpcsearch-smoke-")))
        arguments = {
            "reference": checked.run,
            "names": list(checked.names),
            "configuration": checked.design[0],
            "folder": str(folder / "evaluation"),
            "limit_s": evaluation_s,
        }
        child = Child("smoke", cwd, folder, request.import_limit_s + evaluation_s, arguments)
        undo.callback(child.end)
        try:
            with steps.step("Running one configuration first (--smoke)"):
                objective = _objective(child, evaluation_s)
        except SmokeError:
            for line in child.output(_SHOWN_LINES):
                steps.say(f"  {line}")
            raise
    steps.say(f"It gave {objective:g} for {checked.design[0]}.")


def _too_slow(limit_s: float) -> str:
    return f"it took longer than {format_duration(math.ceil(limit_s))}"


def _objective(child: Child, limit_s: float) -> float:
    try:
        answer: dict[str, Any] = child.answer()
        if "objective" in answer:
            return float(answer["objective"])
        failure = " ".join(f"{answer['kind']}: {answer['text']}".split())
    except TooSlowError:
        failure = _too_slow(limit_s)
    except EndedEarlyError as end:
        failure = _too_slow(limit_s) if end.how == "signal SIGALRM" else f"it ended the process with {end.how}"
    raise SmokeError(
        f"The smoke test failed: {failure.rstrip('.')}. Nothing was submitted.",
        "Mend the run function and type the same again; without --smoke it is submitted as it is.",
    )
