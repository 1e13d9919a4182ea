"""Evaluations that are programs: what is to be run, and in which environment.

A function marked with :func:`command` returns a :class:`Command` for a configuration. The functions below turn it into
argv and environment; whoever starts it uses them, on a node or beside the driver. What it gave is found in
``worker.result``. This module is imported on every node, so it uses the standard library alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from hpcsearch.errors import HpcsearchError, LoadError, UsageError
from hpcsearch.evaluation import Configuration, Resources
from hpcsearch.runfunction import as_run_function, needed_by

LAUNCHERS = ("mpi", "none")

#: The result file of an evaluation, in its directory.
RESULT_FILE = "result.json"

#: What runs containers, and how; the first that is there is taken.
CONTAINER_RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "apptainer": ("apptainer", "exec"),
    "singularity": ("singularity", "exec"),
}
_CONTAINER_GPUS = {"CUDA_VISIBLE_DEVICES": "--nv", "ROCR_VISIBLE_DEVICES": "--rocm"}

_MARK = "__hpcsearch_command__"


class ProgramError(HpcsearchError):
    """A program that gave no objective. ``details`` are the last lines that it printed on standard error."""

    def __init__(self, message: str, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint)
        self.details = details


class ProgramTimeout(ProgramError):
    """A program that ran longer than its ``timeout``."""


@dataclass(frozen=True)
class Command:
    """A program to be run for one configuration.

    Attributes:
        argv: the program and its arguments, handed over as they are: no shell reads them. A program named with a
            relative path (``./solver``) is looked for in the folder where the search was submitted.
        env: variables for it, beside those of the slot and ``HPCSEARCH_*``.
        nodes: nodes that it runs on; None for what the command line says.
        ranks_per_node: processes on each of them; None for what the command line says.
        threads_per_rank: cores of each process, told it as ``OMP_NUM_THREADS``; None for what the command line says.
        gpus_per_rank: GPUs of each process; None for what the command line says.
        cwd: where it runs; None for the evaluation's own directory.
        container: the image of an Apptainer or Singularity container that it runs in.
        launcher: ``"mpi"`` to be started by the site's launcher, ``"none"`` to be started as it is, None for the first
            in job mode mpi and the second in job mode serial.
        timeout: seconds after which it is ended.

    Raises:
        UsageError: a value that cannot be meant.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    nodes: int | None = None
    ranks_per_node: int | None = None
    threads_per_rank: int | None = None
    gpus_per_rank: int | None = None
    cwd: str | os.PathLike[str] | None = None
    container: str | os.PathLike[str] | None = None
    launcher: str | None = None
    timeout: float | None = None

    #: What to do about a function that returns a command and is not marked.
    if_returned: ClassVar[str] = "; a function that returns a Command is marked with @hpcsearch.command"

    def __post_init__(self) -> None:
        object.__setattr__(self, "argv", _checked_argv(self.argv))
        object.__setattr__(self, "env", _checked_env(self.env))
        for name, test, wanted in _RULES:
            value = getattr(self, name)
            if value is not None and not test(value):
                raise UsageError(f"{name}={value!r} of a Command is not {wanted}.", f"Give {wanted}, or leave it out.")
        for name in ("cwd", "container"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else os.fspath(value))

    @property
    def needs_launcher(self) -> bool:
        """Whether nothing but a launcher can start it: it has more than one process, or says so."""
        return self.launcher == "mpi" or (self.nodes or 1) * (self.ranks_per_node or 1) > 1

    def to_json(self) -> str:
        """As text, for another process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def command(function: Callable[..., Command]) -> Callable[..., Command]:
    """Marks a function whose evaluations are programs: it takes a configuration and returns a :class:`Command`.

    Raises:
        LoadError: it is no function.
    """
    if not callable(function) or isinstance(function, type):
        raise LoadError(f"@hpcsearch.command marks {function!r}, not a function.", "Write it above def run(config):")
    setattr(function, _MARK, True)
    return function


def is_command(function: Any) -> bool:
    """Whether a function is marked with :func:`command`."""
    return getattr(function, _MARK, False) is True


def as_commands(function: Any, names: Sequence[str] | None = None) -> Callable[[Configuration], Command]:
    """A marked function as one that takes a configuration as a dict, and whose answer is checked.

    Raises:
        LoadError: it cannot be called with these hyperparameters.
    """
    run = as_run_function(function, names)

    def commanded(configuration: Configuration) -> Command:
        answer = run(configuration)
        if not isinstance(answer, Command):
            message = f"the function marked @hpcsearch.command returned {answer!r:.80} ({type(answer).__name__})"
            raise ProgramError(f"{message}, not a Command", "return hpcsearch.Command([program, argument, ...])")
        return answer

    return commanded


def resources_of(
    run: Any, names: Sequence[str] | None, configuration: Configuration, default: Resources
) -> tuple[Resources, dict[str, Any] | None]:
    """What an evaluation needs, by its run function's own word, and the program that it is, if it is one.

    Raises:
        HpcsearchError: the run function says something that cannot be meant.
    """
    needed = needed_by(run, configuration, default)
    if not is_command(run):
        return needed, None
    wanted = as_commands(run, names)(configuration)
    own = {_RESOURCES[name]: getattr(wanted, name) for name in _RESOURCES if getattr(wanted, name) is not None}
    if wanted.launcher == "none":
        own = {**own, "ranks_per_node": 1}
    return dataclasses.replace(needed, **own), dataclasses.asdict(wanted)


#: A command's word for what it needs -> that of ``Resources``.
_RESOURCES: Mapping[str, str] = {
    "nodes": "nodes",
    "ranks_per_node": "ranks_per_node",
    "threads_per_rank": "cores",
    "gpus_per_rank": "gpus",
}


def argv_of(
    command: Command, directory: str, base: str, gpu_variables: Iterable[str] = (), runtime: str = ""
) -> list[str]:
    """What to start: the program and its arguments, inside its container where it has one.

    Args:
        command: what is to be run.
        directory: the evaluation's directory.
        base: the folder where the search was submitted, which relative paths begin from.
        gpu_variables: the variables that tell it its GPUs, or its whole environment: a container must let them in.
        runtime: what runs containers: one of ``CONTAINER_RUNTIMES``, by default the first.
    """
    argv = list(command.argv)
    if command.container is None:
        return [_from_base(argv[0], base) if "/" in argv[0] else argv[0], *argv[1:]]
    image = os.fspath(command.container)
    where = working_directory(command, directory, base)
    gpus = [flag for name, flag in _CONTAINER_GPUS.items() if name in gpu_variables]
    binds = [part for folder in dict.fromkeys((directory, where)) for part in ("--bind", folder)]
    prefix = [*CONTAINER_RUNTIMES[runtime or next(iter(CONTAINER_RUNTIMES))], *gpus, *binds, "--pwd", where]
    return [*prefix, image if "://" in image else _from_base(image, base), *argv]


def environment_of(
    command: Command, configuration: Configuration, evaluation: int, directory: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of the program: ``environment``, what the command adds, and what hpcsearch tells it."""
    threads = {} if command.threads_per_rank is None else {"OMP_NUM_THREADS": str(command.threads_per_rank)}
    return {
        **environment,
        **threads,
        **command.env,
        "HPCSEARCH_CONFIG": json.dumps(configuration),
        "HPCSEARCH_RESULT": str(Path(directory, RESULT_FILE)),
        "HPCSEARCH_EVALUATION": str(evaluation),
        "HPCSEARCH_DIRECTORY": directory,
    }


def working_directory(command: Command, directory: str, base: str) -> str:
    """Where the program runs."""
    return directory if command.cwd is None else _from_base(os.fspath(command.cwd), base)


def name_of(command: Command) -> str:
    """The program's name, for messages; of a script that Python runs, the script's."""
    program, *arguments = command.argv
    name = Path(program).name
    scripts = [Path(one).name for one in arguments if one.endswith(".py")]
    return scripts[0] if scripts and name.startswith("python") else name


def _from_base(path: str, base: str) -> str:
    return str(Path(base, path))


def _checked_argv(argv: Any) -> tuple[str, ...]:
    if isinstance(argv, str | bytes):
        hint = f"Write {argv.split()!r}." if isinstance(argv, str) else ""
        raise UsageError(f"the argv of a Command is the text {argv!r}: no shell splits it.", hint)
    try:
        parts = tuple(os.fspath(one) if isinstance(one, os.PathLike) else str(one) for one in argv)
    except TypeError:
        raise UsageError(f"the argv of a Command is {argv!r}, not a list of texts.", "Write [program, ...].") from None
    if not parts or not parts[0]:
        raise UsageError("the argv of a Command names no program.", "Write Command([program, argument, ...]).")
    if any("\0" in part for part in parts):
        raise UsageError(f"the argv of a Command, {parts!r}, has a null character.", "Leave it out.")
    return parts


def _checked_env(env: Any) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise UsageError(f"the env of a Command is {env!r}, not a dict of variables.", "Write env={'NAME': 'value'}.")
    for name, value in env.items():
        if not isinstance(name, str) or not name or re.search("[=\0]", name) or "\0" in str(value):
            raise UsageError(f"{name!r}: {value!r} in the env of a Command is no variable.", "Write 'NAME': 'value'.")
    return {name: str(value) for name, value in env.items()}


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("nodes", _is_count, "a number of nodes, 1 or more"),
    ("ranks_per_node", _is_count, "a number of processes, 1 or more"),
    ("threads_per_rank", _is_count, "a number of threads, 1 or more"),
    ("gpus_per_rank", lambda value: _is_count(value, 0), "a number of GPUs, 0 or more"),
    ("cwd", _is_path, "the path of a folder"),
    ("container", _is_path, "the path of a container's image"),
    ("launcher", lambda value: value in LAUNCHERS, "'mpi' or 'none'"),
    ("timeout", _is_seconds, "a time limit in seconds, more than 0"),
)
