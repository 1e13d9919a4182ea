"""Options and kinds of values that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

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


root = click.option(
    "--root", metavar="DIR", help="The folder of workflows; by default $HPCSEARCH_ROOT, else ./workflows."
)
workflow = click.argument("workflow", metavar="WF")
wait = click.option("--wait", is_flag=True, help="Stay until the allocation has ended, and show how it goes.")


def output_format(*choices: str) -> Callable[[Command], Command]:
    """``--format``, the first choice by default."""
    return click.option("--format", "form", type=click.Choice(choices), default=choices[0], show_default=True)


#: How an allocation runs: the options that ``submit hps`` and ``resume`` share. (names, attributes, help)
_RUNNING: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
    (("--nodes", "-n"), {"type": int, "metavar": "N"}, "How many nodes."),
    (("--time", "-t", "walltime_s"), {"type": Walltime()}, "The walltime: minutes, or HH:MM:SS."),
    (("--queue", "-q"), {"metavar": "QUEUE"}, "The site's queue (partition, QOS)."),
    (("--account", "-A"), {"metavar": "ACCOUNT"}, "Whom it is charged to (project)."),
    (
        ("--job-mode", "-j"),
        {"type": click.Choice(["serial", "mpi"])},
        "serial: evaluations are single processes that share nodes; mpi: comes with a later version.",
    ),
    (("--site",), {"metavar": "SITE"}, "The machine, when it is not recognised by itself."),
    (
        ("--chain",),
        {"type": int, "metavar": "K"},
        "Submit K allocations that follow each other, each of which goes on where the one before ended.",
    ),
    (("--evals-per-node",), {"type": int, "metavar": "K"}, "How many evaluations run on a node at once."),
    (("--max-evals",), {"type": int, "metavar": "N"}, "The budget: how many configurations are evaluated."),
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


def running(**changed: dict[str, Any]) -> Callable[[Command], Command]:
    """The options of an allocation; ``changed`` gives further attributes of an option, by its first name."""

    def decorate(command: Command) -> Command:
        for names, attributes, text in reversed(_RUNNING):
            key = names[0].partition("/")[0].removeprefix("--").replace("-", "_")
            more = changed.get(key, {})
            command = click.option(*names, **{**attributes, **more, "help": text})(command)
        return command

    return decorate
