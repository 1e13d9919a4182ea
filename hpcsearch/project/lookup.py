"""The problem and the run function of a workflow that is named like a problem's folder: nobody needs to type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import UsageError
from hpcsearch.project.project import PROBLEM_FILES, find_project, problems_in


@dataclass(frozen=True)
class Found:
    """References to a problem and a run function; ``sentence`` says where what was not given has been found."""

    problem: str
    run: str
    sentence: str = ""


def find_problem(workflow: str | None, problem: str | None, run: str | None) -> Found:
    """``problem`` and ``run``; what is None is a file of the folder that ``workflow`` is named like.

    A workflow is named like a folder when it has its name, or its name with something behind a dash, dot or underscore:
    ``polynome2`` and ``polynome2-long`` both mean ``polynome2``. The folder holds ``problem.py`` and ``model_run.py``,
    and is in the current one, else in the package of the project that this lies in.

    Raises:
        UsageError: something is missing and there is no such folder.
    """
    if problem is not None and run is not None:
        return Found(problem, run)
    cwd = Path.cwd()
    project = find_project(cwd)
    places = [cwd] if project is None or project.folder == cwd else [cwd, project.folder]
    for name in _names(workflow or ""):
        for place in places:
            problem_file, run_file = (place / name / file for file in PROBLEM_FILES)
            if problem_file.is_file() and run_file.is_file():
                files = {problem_file.name: problem, run_file.name: run}
                taken = " and ".join(file for file, given in files.items() if given is None)
                return Found(problem or str(problem_file), run or str(run_file), f"Taking {taken} in {place / name}.")
    raise _missing(workflow, problem, run, places)


def _names(workflow: str) -> Iterator[str]:
    """Names of folders that a workflow's name may mean, the longest first."""
    ends = [match.start() for match in re.finditer(r"[-._]", workflow)]
    yield from (workflow[:end] for end in (len(workflow), *reversed(ends)) if end)


def _missing(workflow: str | None, problem: str | None, run: str | None, places: list[Path]) -> UsageError:
    missing = [option for option, given in {"-p": problem, "-r": run}.items() if given is None]
    lacking = f"{missing[0]} is not given" if len(missing) == 1 else "Neither -p nor -r is given"
    there = ", ".join(sorted({name for place in places for name in problems_in(place)}))
    otherwise = "type -p problem.py -r model_run.py"
    if workflow is None:
        return UsageError(
            f"{lacking}, and no workflow that is named like a problem's folder{f' ({there})' if there else ''}.",
            f"Type 'hpcsearch hps SEARCH NAME' with such a name, or {otherwise}.",
        )
    where, files = " or ".join(str(place) for place in places), " and ".join(PROBLEM_FILES)
    return UsageError(
        f"{lacking}, and there is no folder named like {workflow!r} with {files} in {where}.",
        f"Name the workflow like a problem that is there ({there}), or {otherwise}."
        if there
        else f"{otherwise.capitalize()}, or make a problem with 'hpcsearch new-problem hps {workflow}'.",
    )
