"""The options of early stopping, which every command has that starts evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hpcsearch.cli.options import SearchArgument, each_once

Command = TypeVar("Command", bound=Callable[..., Any])

#: Names, attributes, default of a new search, help.
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any], Any, str], ...] = (
    (
        ("--stopper",),
        {"metavar": "RULE"},
        "none",
        "End evaluations early by what they report: asha, median, file.py:Class of your own, or none.",
    ),
    (
        ("--stopper-metric",),
        {"metavar": "NAME[:min|max]"},
        None,
        "The reported metric that decides; by default the only one, or 'objective', in the objective's direction.",
    ),
    (
        ("--stopping",),
        {"type": click.Choice(["raise", "ask"])},
        "raise",
        "How a run function learns that it is stopped: its next report raises hpcsearch.Stopped, or it asks "
        "hpcsearch.should_stop().",
    ),
    (
        ("--stop-grace", "stop_grace_s"),
        {"type": float, "metavar": "SECONDS"},
        60.0,
        "Kill what still runs so long after it was stopped.",
    ),
    (
        ("--stop-margin", "stop_margin_s"),
        {"type": float, "metavar": "SECONDS"},
        None,
        "should_stop() is true so long before the walltime or the time limit ends; by default 60 s, and a tenth of "
        "the time at most.",
    ),
)


def stopping(new: bool) -> Callable[[Command], Command]:
    """The options of a ``new`` search, with their defaults, or of one that goes on, where nothing is changed."""

    def arguments(
        ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, str], ...]
    ) -> dict[str, str] | None:
        return dict(each_once(ctx, param, value)) if value or new else None

    def decorate(command: Command) -> Command:
        for names, attributes, default, text in reversed(_OPTIONS):
            usual = {"default": default, "show_default": default is not None} if new else {}
            command = click.option(*names, **attributes, **usual, help=text)(command)
        return click.option(
            "--stopper-arg",
            "stopper_arguments",
            type=SearchArgument(),
            multiple=True,
            callback=arguments,
            metavar="NAME=VALUE",
            help="A setting of the stopping rule; may be repeated. For asha: eta=2, first=2.",
        )(command)

    return decorate
