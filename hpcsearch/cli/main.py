"""The commands ``hpcsearch`` and ``submit``: loaded one by one when asked for, and what happens to errors.

Only click is imported before it is known which command runs.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hpcsearch.errors import HpcsearchError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Name -> module and its one line of help, which ``--help`` shows without importing it.
COMMANDS = {
    "start-project": ("hpcsearch.cli.start_project", "Make a package for search problems."),
    "new-problem": ("hpcsearch.cli.new_problem", "Make a search problem to start from."),
    "hps": ("hpcsearch.cli.hps", "Search on this machine, in the foreground."),
    "submit": ("hpcsearch.cli.submit", "Check a search, make its workflow and submit it."),
    "status": ("hpcsearch.cli.status", "How a workflow stands, or all of them."),
    "monitor": ("hpcsearch.cli.monitor", "Watch a workflow on the terminal."),
    "why": ("hpcsearch.cli.why", "Why an evaluation failed, or why nothing runs."),
    "show": ("hpcsearch.cli.show", "All that is known of one evaluation."),
    "logs": ("hpcsearch.cli.logs", "What an evaluation, the driver or an allocation has printed."),
    "results": ("hpcsearch.cli.results", "The best evaluations of a workflow, and all of them as a file."),
    "topk": ("hpcsearch.cli.topk", "The best points of a results.csv or a workflow."),
    "report": ("hpcsearch.cli.report", "A page with figures on a workflow, as one HTML file."),
    "plot": ("hpcsearch.cli.plot", "One figure of a workflow, for a paper."),
    "dashboard": ("hpcsearch.cli.dashboard", "Show a workflow in optuna-dashboard."),
    "tensorboard": ("hpcsearch.cli.tensorboard", "Show a workflow in TensorBoard."),
    "resume": ("hpcsearch.cli.resume", "Continue a workflow with another allocation."),
    "stop": ("hpcsearch.cli.stop", "Let what runs end, and start nothing more."),
    "cancel": ("hpcsearch.cli.cancel", "End the allocations of a workflow."),
    "site": ("hpcsearch.cli.site", "What is known of machines."),
    "doctor": ("hpcsearch.cli.doctor", "What a search needs on this machine."),
    "ls": ("hpcsearch.cli.ls", "List the workflows."),
    "rm": ("hpcsearch.cli.rm", "Remove a workflow for good."),
    "config": ("hpcsearch.cli.config", "Defaults, and where each was set."),
    "completion": ("hpcsearch.cli.completion", "What makes a shell complete names."),
}

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}.{_did_you_mean(args[0])}")
        name, command, rest = super().resolve_command(ctx, args)
        if name == "submit" and command and not ctx.resilient_parsing and not set(rest) & set(ctx.help_option_names):
            from hpcsearch.cli.defaults import apply

            apply(ctx, command)
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _did_you_mean(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _print_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        import hpcsearch

        click.echo(f"hpcsearch {hpcsearch.__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def hpcsearch_command() -> None:
    """Hyperparameter search on supercomputers.

    A problem (search space) and a run function go in; a batch job keeps its nodes busy with evaluations, records every
    result, and gives nodes back that have nothing left to do.
    """


def main() -> None:
    """The command ``hpcsearch``."""
    _open_streams()
    sys.exit(run(hpcsearch_command, sys.argv[1:], "hpcsearch"))


def main_submit() -> None:
    """The command ``submit``: ``hpcsearch submit``."""
    _open_streams()
    if "_SUBMIT_COMPLETE" in os.environ:  # a shell that asks what the line could become
        importlib.import_module(COMMANDS["submit"][0]).command.main([], prog_name="submit")
    sys.exit(run(hpcsearch_command, ["submit", *sys.argv[1:]], "hpcsearch"))


def _open_streams() -> None:
    """Lets what the caller has closed lead nowhere: else the next file that is opened would get what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - it stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what this terminal has no letters for is no reason to fail


def run(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Runs a command line, and turns whatever ends it into an exit code and, on standard error, a sentence."""
    try:
        answer: Any = command.main(list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HpcsearchError as error:
        return _tell(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        _print_nowhere()
        return 1
    except OSError as error:
        from hpcsearch.cli.surroundings import as_sentence

        told = as_sentence(error)
        if told is None:
            raise
        _print_nowhere()
        return _tell(told)
    return answer if isinstance(answer, int) else 0


def _tell(error: HpcsearchError) -> int:
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(error.hint, err=True)
    return error.exit_code


def _print_nowhere() -> None:
    """What is left in the output's buffer, and is written at the interpreter's exit, needs a place."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - it stays open to the end
