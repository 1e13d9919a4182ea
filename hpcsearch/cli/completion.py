"""``hpcsearch completion``: scripts for shells, and what stands behind the arguments that they complete.

The scripts are click's: they run ``hpcsearch`` with ``_HPCSEARCH_COMPLETE`` set, which prints the completions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import CompletionItem, get_completion_class

#: The installed commands, by the variable that asks them for completions.
PROGRAMS = {"hpcsearch": "_HPCSEARCH_COMPLETE", "submit": "_SUBMIT_COMPLETE"}

Items = list[CompletionItem[str]]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, workflows, queues and sites.

    \b
    bash:  echo 'eval "$(hpcsearch completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(hpcsearch completion zsh)"' >> ~/.zshrc
    fish:  echo 'hpcsearch completion fish | source' >> ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    for name, variable in PROGRAMS.items():
        script = kind(context.find_root().command, {}, name, variable)
        click.echo(script.source_template % script.source_vars())


def workflows(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names of workflows under the root; folders, where a path has been begun."""
    from hpcsearch.workflow.layout import list_layouts

    if "/" in incomplete or incomplete.startswith((".", "~")):
        return folders(context, parameter, incomplete)
    with _no_errors():
        return _matching((layout.name for layout in list_layouts(context.params.get("root"))), incomplete)
    return []


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Folders."""
    return [CompletionItem(incomplete, type="dir")]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Files; nothing where a name inside a file or module has been begun."""
    return [] if ":" in incomplete else [CompletionItem(incomplete, type="file")]


def sites(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names of sites."""
    from hpcsearch.sites.find import search_path, site_files

    with _no_errors():
        return _matching(site_files(search_path()), incomplete)
    return []


def queues(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names of the queues of the site that is given, set, or recognised."""
    from hpcsearch.sites.find import find_site

    with _no_errors():
        site = find_site(context.params.get("site"))
        return _matching((queue.name for queue in site.queues), incomplete)
    return []


def _matching(words: Iterable[str], incomplete: str) -> Items:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


@contextlib.contextmanager
def _no_errors() -> Iterator[None]:
    """Whoever presses the tab key gets no sentence about a broken file; the command itself will say it."""
    from hpcsearch.errors import HpcsearchError

    with contextlib.suppress(HpcsearchError, OSError):
        yield
