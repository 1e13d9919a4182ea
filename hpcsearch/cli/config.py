"""``hpcsearch config``: the user's defaults, and where each was set."""

from __future__ import annotations

from collections.abc import Iterator

import click

from hpcsearch.cli import options

Row = tuple[str, str, str]

#: What holds where nothing is set.
_UNSET = {"site": "not set: recognised, see 'hpcsearch site detect'"}


@click.group("config")
def command() -> None:
    """Defaults for account, queue, site, root and the options of submit.

    \b
    What counts, the strongest first:
      what is typed
      HPCSEARCH_ACCOUNT, HPCSEARCH_QUEUE, HPCSEARCH_SITE, HPCSEARCH_ROOT
      the file that 'hpcsearch config path' names
      SBATCH_ACCOUNT, SBATCH_PARTITION
    """


@command.command("show")
@options.output_format("table", "json")
@click.pass_context
def show(context: click.Context, form: str) -> None:
    """Show every default, and where it was set."""
    from hpcsearch.monitor import text

    rows = [*_general(), *_submit(context)]
    if form == "json":
        text.print_json([dict(zip(("name", "value", "from"), row, strict=True)) for row in rows])
    else:
        text.print_table(("Name", "Value", "From"), rows)


@command.command("path", short_help="Show which file the defaults are read from.")
def path() -> None:
    """Show which file the defaults are read from, whether it is there or not."""
    from hpcsearch.settings import config_path

    click.echo(config_path())


def _general() -> Iterator[Row]:
    from hpcsearch import settings
    from hpcsearch.workflow.layout import workflows_root

    for name in settings.VARIABLES:
        setting = settings.default(name)
        if setting is not None:
            yield name, setting.value, setting.origin
        elif name == "root":
            yield name, str(workflows_root()), "built in"
        else:
            yield name, "", _UNSET.get(name, "not set")


def _submit(context: click.Context) -> Iterator[Row]:
    from hpcsearch.cli.defaults import shown_value, submit_defaults
    from hpcsearch.cli.submit import command as submit

    for key, setting in submit_defaults(context, submit).items():
        yield f"submit.{key}", shown_value(setting), setting.origin
