"""``hpcsearch submit script``: a search of a script that knows nothing of hpcsearch."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from hpcsearch.cli import completion, options
from hpcsearch.cli.running import running
from hpcsearch.cli.stopping import stopping

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Duration(click.ParamType[float]):
    """``5h``, ``48h2m10s``, or seconds; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(value.strip())
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
        total = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
        if value.isascii() and value.isdecimal():
            total = float(value)
        if not total:
            self.fail(f"{value!r} is no duration; write 5h, 30m, 48h2m10s or seconds.", param, ctx)
        return total


class Size(click.ParamType[int]):
    """``8G``, ``500M``; in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from hpcsearch.script.copying import parse_size

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError:
            self.fail(f"{value!r} is no size; write 8G or 500M.", param, ctx)


class ScriptCommand(click.Command):
    """Its options stand between the workflow's name and the script; what is behind the script is the script's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        first = [args.pop(0)] if args and not args[0].startswith("-") else []
        rest = super().parse_args(ctx, args)
        ctx.params["words"] = (*first, *ctx.params.get("words", ()))
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["WF", self.options_metavar or "", "SCRIPT", "[ARGUMENTS]..."]


@click.command("script", cls=ScriptCommand, short_help="Submit a search of any script.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, shell_complete=completion.files)
@click.option(
    *("--hyperparam", "-hp", "--hp", "hyperparameters"),
    multiple=True,
    metavar="NAME=VALUES",
    help="A hyperparameter; repeat it for more. 0.1 | 2,5,6 | 0:3 | 0.01:0.01:0.1 | 0:u10:1 | 1e-5:l5:0.1.",
)
@click.option(
    "--search", metavar="NAME", help="The strategy, with the ranges as bounds; by default the grid of all values."
)
@click.option(
    *("--optimizer", "-opt"),
    metavar="NAME|FILE.PY",
    help="A strategy, or a plug-in with ask, tell and stop; --hyperparam is then NAME=MIN:MAX[:LENGTH][:FLAGS].",
)
@click.option(
    "--inject",
    type=click.Choice(["substitute", "regex", "args", "env"]),
    default="substitute",
    show_default=True,
    help="How the script gets its values: where it reads the name; the same by text alone; --NAME VALUE or {NAME} in "
    "its arguments; HPCSEARCH_NAME in its environment.",
)
@click.option(
    "--metric",
    default="",
    metavar="NAME[:min|:max]",
    help="The objective: a TensorBoard scalar; the least, greatest or last value of a run. By default the number that "
    "the script prints last behind 'fitness:' or 'objective:'.",
)
@click.option("--metric-file", default="", metavar="FILE", help="Read it from this CSV or JSON lines file instead.")
@click.option("--direction", type=click.Choice(["min", "max"]), help="Whether less or more is better.")
@click.option("--capture", multiple=True, metavar="PATH", help="Keep this file or folder of each evaluation.")
@click.option(
    "--max-duration", "eval_timeout_s", type=Duration(), metavar="5h", help="End an evaluation that takes longer."
)
@click.option("--cpus", type=options.Count(), metavar="K", help="Cores of each evaluation.")
@click.option("--gpus", type=options.Count(), metavar="K", help="GPUs of each evaluation.")
@click.option("--mem", type=Size(), metavar="8G", help="Memory of each evaluation.")
@click.option(
    "--copy-limit",
    "copy_limit_bytes",
    type=Size(),
    default="500M",
    show_default=True,
    metavar="SIZE",
    help="The largest folder of a script that is copied.",
)
@running(
    *("nodes", "time", "queue", "account", "job_mode", "site", "chain", "evals_per_node", "max_evals", "max_success"),
    *("max_attempts", "retry_failed", "resumable", "bind"),
    new=True,
    evals_per_node={},
)
@options.search_argument
@stopping(new=True)
@options.seed
@options.smoke
@options.yes
@click.option("--dry-run", is_flag=True, help="Show what the script would become, and the job script; submit nothing.")
@options.wait
@options.root
def command(words: tuple[str, ...], dry_run: bool, wait: bool, **values: Any) -> int:
    """Search over the variables of SCRIPT, under the name WF, which must not be taken.

    \b
    submit script mnist -n 4 -t 30 -q debug --hyperparam lr=0.01:0.01:0.1 --metric val_loss:min train.py 30

    SCRIPT runs in a copy of its folder, once for each configuration; what is behind it are its own arguments. It need
    not know of any of this, nor be changed.
    """
    from hpcsearch.cli.defaults import notes
    from hpcsearch.cli.submit import go
    from hpcsearch.script.front import Asked, prepared
    from hpcsearch.script.requesting import request_of
    from hpcsearch.submission.steps import Steps
    from hpcsearch.workflow.layout import workflows_root

    if len(words) < 2:
        raise click.UsageError("Give the workflow's name, then the options, then the script with its arguments.")
    workflow, file, *arguments = words
    names = ("hyperparameters", "search", "optimizer", "inject", "metric", "metric_file", "direction", "capture")
    asked = Asked(
        file,
        tuple(arguments),
        copy_limit_bytes=values.pop("copy_limit_bytes"),
        **{name: values.pop(name) for name in names},
    )
    steps = Steps(sys.stdout)
    for note in notes(click.get_current_context()):
        steps.say(note)
    with prepared(asked, workflows_root(values["root"]), _direction_on_terminal()) as made:
        request = request_of(workflow, made, values)
        for note in made.notes:
            steps.say(note)
        if dry_run:
            steps.say(made.trial())
        return go(request, steps, dry_run, wait)


def _direction_on_terminal() -> Any:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    kind = click.Choice(["min", "max"])
    return lambda name: click.prompt(f"Is less or more of {name} better", type=kind)
