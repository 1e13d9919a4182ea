"""``results.csv`` and ``hpcsearch.log`` in the working directory: links to those of the search that runs there."""

from __future__ import annotations

import os
from pathlib import Path

from hpcsearch.errors import UsageError
from hpcsearch.workflow.layout import Layout


def refuse_in_the_way(layout: Layout, folder: Path) -> None:
    """Raises UsageError when a link would have to take the place of something that is no such link."""
    for target in (layout.results, layout.log):
        link = folder / target.name
        if os.path.lexists(link) and not _is_ours(link):
            raise UsageError(
                f"There is a file {link} already; the search would write its own there, and nothing is overwritten.",
                "Move it away, or work in another folder.",
            )


def make_links(layout: Layout, folder: Path) -> str:
    """Makes the links, in the place of an earlier search's; returns what is to be said of them."""
    earlier = ""
    try:
        for target in (layout.results, layout.log):
            link = folder / target.name
            if _is_ours(link):
                earlier = f"; those that were here before are in {link.readlink().parent}"
                link.unlink()
            link.symlink_to(target.relative_to(folder) if target.is_relative_to(folder) else target)
    except OSError as error:
        return f"{link} cannot be made ({error.strerror}): see {target}."
    return f"results.csv and hpcsearch.log in {folder} show it{earlier}."


def _is_ours(link: Path) -> bool:
    """Whether it is a link to the same file of a workflow, there or gone."""
    if not link.is_symlink():
        return False
    target = link.resolve()
    return target.name == link.name and (not target.exists() or (target.parent / "workflow.db").exists())
