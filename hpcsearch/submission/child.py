"""The process that has to do with a user's file: ``python -m hpcsearch.submission.child problem|run|smoke <JSON>``.

What the user's code prints goes to standard error. The answer, one JSON object, goes to the file that the arguments
name, so that nothing which is left running can hold it up.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpcsearch.errors import HpcsearchError, ProblemError, SearchError
from hpcsearch.evaluation import Configuration

Answer = dict[str, Any]

#: Configurations of the initial design beyond what the slots and starting points take.
_BEYOND = 8
#: Further ones, which only slots use that would be idle until the search's process is up; at least, and by slot.
_SPARES, _SPARES_PER_SLOT = 256, 2


def check_problem(arguments: Mapping[str, Any]) -> Answer:
    """Loads the problem and proposes the initial design.

    Raises:
        LoadError: it cannot be loaded.
        ProblemError: it is no problem.
        SearchError: the search is unknown, or does not take these arguments.
    """
    from hpcsearch.reference import Reference, load

    reference = Reference.parse(arguments["reference"], "Problem", Path(arguments["cwd"]))
    loaded = load(reference)

    from hpcsearch.problem import HpProblem, to_configuration
    from hpcsearch.search import create
    from hpcsearch.search.stopping import check

    if not isinstance(loaded, HpProblem):
        raise ProblemError(
            f"{arguments['reference']} is of type {type(loaded).__name__}, not HpProblem.",
            "Make it with Problem = hpcsearch.HpProblem(), or name the instance: file.py:name.",
        )
    if not loaded.names:
        raise ProblemError(f"{arguments['reference']} has no hyperparameters.", "Add some with add_hyperparameter.")
    check(arguments["stopper"], arguments["stopper_arguments"], arguments["cwd"])
    search = create(arguments["search"], loaded, arguments["seed"], **arguments["search_arguments"])
    if search.planned == 0 and not loaded.starting_points:
        raise SearchError(f"The {arguments['search']} has no configuration that the problem allows.")
    limits = [limit for limit in (arguments["max_evals"], arguments["max_success"]) if limit is not None]
    wanted = design_size(len(loaded.starting_points), arguments["slots"], min(limits, default=None))
    design: list[Configuration] = []
    if arguments["smoke"] and not loaded.starting_points and search.planned is None:
        design.append(to_configuration(loaded.space.get_default_configuration()))
        search.pending(design)
    design += search.ask(wanted - len(design))
    spares = max(_SPARES, _SPARES_PER_SLOT * arguments["slots"])
    if arguments["max_evals"] is not None:
        spares = min(spares, arguments["max_evals"] - len(design))
    return {
        "reference": str(reference),
        "names": loaded.names,
        "minimize": loaded.minimize,
        "design": design,
        "spares": search.ask(spares) if spares > 0 else [],
        "planned": search.planned,
    }


def design_size(starting_points: int, slots: int, max_evals: int | None) -> int:
    """How many configurations are proposed before any search process is up: every slot has one, and a few are spare."""
    wanted = max(starting_points, slots) + _BEYOND
    return wanted if max_evals is None else min(wanted, max_evals)


def check_run(arguments: Mapping[str, Any]) -> Answer:
    """Loads the run function, and checks it against the hyperparameters, which come on standard input when known.

    Raises:
        LoadError: it cannot be loaded, or cannot be called with the hyperparameters.
    """
    from hpcsearch.program import is_command
    from hpcsearch.reference import Reference, load
    from hpcsearch.runfunction import as_run_function, is_sized

    reference = Reference.parse(arguments["reference"], "run", Path(arguments["cwd"]))
    loaded = load(reference)
    line = sys.stdin.readline()
    if line:  # none when the problem was refused: then the run function alone is in question
        communicator = object() if arguments["mpi"] else None
        as_run_function(loaded, json.loads(line), communicator)
    return {"reference": str(reference), "sized": is_sized(loaded) or is_command(loaded)}


def try_out(arguments: Mapping[str, Any]) -> Answer:
    """Runs one configuration as a slot would; gives its objective, or why there is none. Tracebacks are printed.

    Raises:
        LoadError: the run function cannot be loaded, or cannot be called with the hyperparameters.
    """
    from hpcsearch.reference import Reference, load
    from hpcsearch.runfunction import failure_from, normalise
    from hpcsearch.worker import context
    from hpcsearch.worker.program import as_evaluated

    reference = Reference.parse(arguments["reference"], "run", Path(arguments["cwd"]))
    run = as_evaluated(load(reference), arguments["names"])
    configuration, ends_at_s = arguments["configuration"], time.monotonic() + arguments["limit_s"]
    current = context.CurrentEvaluation(1, 1, 0, configuration, arguments["folder"], ends_at_s)
    context.enter(current, lambda _step, _metrics: None)
    signal.setitimer(signal.ITIMER_REAL, arguments["limit_s"])  # whoever has waited for it knows what SIGALRM means
    try:
        return {"objective": normalise(run(configuration)).objective}
    except BaseException as error:  # noqa: BLE001 - whatever ends it is what the user wants to know
        failure = failure_from(error)
        if not getattr(error, "details", ""):  # which a program has printed itself
            print(failure.traceback, flush=True)
        return {"kind": failure.kind, "text": failure.message}


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
    "problem": check_problem,
    "run": check_run,
    "smoke": try_out,
}


def main() -> None:
    """Answers, and ends at once: threads and exit handlers of the user's imports are nobody's concern here."""
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = json.loads(sys.argv[2])
    answer: Answer
    try:
        answer = _CHECKS[sys.argv[1]](arguments)
    except HpcsearchError as error:
        kind = next(one for one in type(error).__mro__ if one.__module__ == HpcsearchError.__module__)
        answer = {"error": kind.__name__, "message": error.message, "hint": error.hint}
    Path(arguments["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
