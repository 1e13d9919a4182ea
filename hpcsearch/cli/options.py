"""Options and kinds of values that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
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


def confirm_on_terminal() -> Callable[[str], bool] | None:
    """What asks the user a question; None where nobody sits at a terminal."""
    return click.confirm if sys.stdin.isatty() and sys.stdout.isatty() else None


def output_format(*choices: str) -> Callable[[Command], Command]:
    """``--format``, the first choice by default."""
    return click.option("--format", "form", type=click.Choice(choices), default=choices[0], show_default=True)


def output_file(text: str, **more: Any) -> Callable[[Command], Command]:
    """``--output`` with its help, and ``--force``."""

    def decorate(command: Command) -> Command:
        command = click.option("--force", is_flag=True, help="Write over FILE if it exists.")(command)
        kind = click.Path(path_type=Path)
        return click.option("--output", "-o", type=kind, metavar="FILE", help=text, **more)(command)

    return decorate


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
