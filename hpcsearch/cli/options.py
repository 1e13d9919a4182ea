"""Options and kinds of values that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hpcsearch.cli import completion

Command = TypeVar("Command", bound=Callable[..., Any])

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d)")


class Walltime(click.ParamType[int]):
    """Minutes, or hours, minutes and seconds; in seconds."""

    name = "minutes | [D-]HH:MM:SS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value.isascii() and value.isdecimal() and int(value) > 0:
            return int(value) * 60
        match = _CLOCK.fullmatch(value)
        seconds = 0
        if match:
            days, hours, minutes, rest = (int(part or 0) for part in match.group("days", "hours", "minutes", "seconds"))
            seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
        if not seconds:
            self.fail(f"{value!r} is no walltime; give minutes (30) or HH:MM:SS (1:30:00).", param, ctx)
        return seconds


class Count(click.IntRange):
    """A whole number, 1 or more."""

    name = "whole number"

    def __init__(self) -> None:
        super().__init__(min=1)


class SearchArgument(click.ParamType[tuple[str, str]]):
    """``name=value``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            self.fail(f"{value!r} is not of the form name=value.", param, ctx)
        return name, text


def each_once(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Refuses settings of which one is given twice."""
    names = [name for name, _ in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"{twice!r} is given twice.", ctx, param)
    return value


search_argument = click.option(
    "--search-arg",
    "search_arguments",
    type=SearchArgument(),
    multiple=True,
    callback=each_once,
    metavar="NAME=VALUE",
    help="A setting of the strategy; may be repeated. For grid: points=10, points_of=lr:5,units:3.",
)
root = click.option(
    "--root",
    metavar="DIR",
    shell_complete=completion.folders,
    help="The folder of workflows; by default $HPCSEARCH_ROOT, else what 'hpcsearch config' has, else ./workflows.",
)
workflow = click.argument("workflow", metavar="WF", shell_complete=completion.workflows)
problem = click.option(
    "--problem",
    "-p",
    metavar="REF",
    shell_complete=completion.files,
    help="The problem: problem.py, file.py:name or pkg.module:name.",
)
run = click.option(
    "--run", "-r", metavar="REF", shell_complete=completion.files, help="The run function, written in the same ways."
)
seed = click.option("--seed", type=int, help="Makes a search with one slot reproducible.")
import_limit = click.option(
    "--import-limit",
    "import_limit_s",
    type=float,
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long problem and run function may take to be imported.",
)
smoke = click.option(
    "--smoke",
    is_flag=True,
    help="Run the first configuration alone, before all others, and end when it fails (exit code 10): on site local "
    "here and now, elsewhere at the beginning of the allocation.",
)
yes = click.option("--yes", "-y", is_flag=True, help="Do not ask, however many configurations a grid has.")
wait = click.option("--wait", is_flag=True, help="Stay until the allocation has ended, and show how it goes.")


data_parallel = click.option(
    "--data-parallel",
    type=click.Choice(["horovod", "torch", "tensorflow"]),
    help="Train each configuration on --nodes-per-eval x --ranks-per-node ranks, which find each other with this.",
)
num_ps = click.option(
    "--num-ps",
    type=int,
    default=0,
    metavar="K",
    help="With --data-parallel tensorflow: the first K ranks of an evaluation are parameter servers.",
)


def local_port(default: int) -> Callable[[Command], Command]:
    """``--port``: where the page is on the reader's own machine."""
    return click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=default,
        show_default=True,
        metavar="PORT",
        help="Of your own machine, for the line that is printed; nothing listens on a port here.",
    )


def shown_evaluations(default: int, which: str) -> Callable[[Command], Command]:
    """``--evals``: how many evaluations a page of another project shows, which is slow with many."""
    return click.option(
        "--evals",
        "most",
        type=Count(),
        default=default,
        show_default=True,
        metavar="K",
        help=f"Of the evaluations that have ended show K: {which}. Browsers are slow with more.",
    )


def tell_left_out(count: int) -> None:
    """Says that evaluations are not shown, where some are not."""
    if count:
        click.echo(f"{count} evaluations are left out; --evals says how many are shown.")


def confirm_on_terminal() -> Callable[[str], bool] | None:
    """What asks the user a question; None where nobody sits at a terminal."""
    return click.confirm if sys.stdin.isatty() and sys.stdout.isatty() else None


def output_format(*choices: str) -> Callable[[Command], Command]:
    """``--format``, the first choice by default."""
    return click.option("--format", "form", type=click.Choice(choices), default=choices[0], show_default=True)


def interval(seconds: float) -> Callable[[Command], Command]:
    """``--interval``: seconds between two looks, by default so many."""
    return click.option(
        "--interval",
        "interval_s",
        type=click.FloatRange(min=0.5, max=3600.0),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="Between two looks at the database.",
    )


#: How an allocation runs: the options that ``submit hps`` and ``resume`` share. (names, attributes, help)
_RUNNING: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
    (("--nodes", "-n"), {"type": int, "metavar": "N"}, "How many nodes."),
    (("--time", "-t", "walltime_s"), {"type": Walltime()}, "The walltime: minutes, or HH:MM:SS."),
    (
        ("--queue", "-q"),
        {"metavar": "QUEUE", "shell_complete": completion.queues},
        "The site's queue (partition, QOS).",
    ),
    (("--account", "-A"), {"metavar": "ACCOUNT"}, "Whom it is charged to (project)."),
    (
        ("--job-mode", "-j"),
        {"type": click.Choice(["serial", "mpi"])},
        "serial: evaluations are single processes that share nodes; mpi: each is an MPI launch of its own.",
    ),
    (
        ("--site",),
        {"metavar": "SITE", "shell_complete": completion.sites},
        "The machine, when it is not recognised by itself.",
    ),
    (
        ("--chain",),
        {"type": int, "metavar": "K"},
        "Submit K allocations that follow each other, each of which goes on where the one before ended.",
    ),
    (("--evals-per-node",), {"type": int, "metavar": "K"}, "How many evaluations run on a node at once."),
    (("--nodes-per-eval",), {"type": int, "metavar": "M"}, "How many nodes each evaluation has."),
    (("--ranks-per-node",), {"type": int, "metavar": "R"}, "How many ranks an evaluation has on each of its nodes."),
    (
        ("--threads-per-rank",),
        {"type": int, "metavar": "T"},
        "How many cores each rank has.",
    ),
    (
        ("--gpus-per-rank",),
        {"type": int, "metavar": "G"},
        "How many GPUs each rank has.",
    ),
    (("--max-evals",), {"type": int, "metavar": "N"}, "The budget: how many configurations are evaluated."),
    (
        ("--max-success",),
        {"type": int, "metavar": "N"},
        "End the search when N evaluations have succeeded.",
    ),
    (
        ("--max-attempts",),
        {"type": int, "metavar": "N"},
        "Try an evaluation so often when its node is lost (or, with --retry-failed, when it fails).",
    ),
    (
        ("--retry-failed/--no-retry-failed",),
        {"default": None},
        "Whether an evaluation that failed is tried again, too.",
    ),
    (
        ("--eval-timeout", "eval_timeout_s"),
        {"type": float, "metavar": "SECONDS"},
        "End an evaluation that takes longer.",
    ),
    (
        ("--resumable/--not-resumable",),
        {"default": None},
        "Whether an evaluation that the walltime cuts off goes on from a checkpoint of its own.",
    ),
    (
        ("--slot-reuse",),
        {"metavar": "WHEN"},
        "Evaluations that one process runs: always, never, a number, or auto (never with GPUs).",
    ),
    (("--bind/--no-bind",), {"default": None}, "Whether each evaluation gets cores of its own."),
)


def running(*only: str, **changed: dict[str, Any]) -> Callable[[Command], Command]:
    """The options of an allocation: all, or ``only`` some; ``changed`` gives further attributes. All by first names."""

    def decorate(command: Command) -> Command:
        for names, attributes, text in reversed(_RUNNING):
            key = names[0].partition("/")[0].removeprefix("--").replace("-", "_")
            if not only or key in only:
                more = changed.get(key, {})
                command = click.option(*names, **{**attributes, **more, "help": text})(command)
        return command

    return decorate
