"""``hpcsearch ls``: the workflows there are."""

from __future__ import annotations

import click

from hpcsearch.cli import options


@click.command("ls")
@options.output_format("table", "json", "csv")
@options.root
def command(form: str, root: str | None) -> None:
    """List the workflows."""
    from hpcsearch.monitor.listing import show_list

    show_list(root, form)
