"""``hpcsearch site``: what is known of machines, and checking a new file."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("site")
def command() -> None:
    """What is known of machines: their queues, nodes and launcher, from site files."""


@command.command("list")
def list_sites() -> None:
    """List the sites, with a star at the one that this machine is."""
    from hpcsearch.sites.load import load_site

    known, here, _ = _this_machine()
    width = max(len(name) for name in known) + 2
    for name, files in known.items():
        site = load_site(*files)
        star = "*" if name == here else " "
        changed = "" if len(files) == 1 else f"  ({len(files)} files, the last {files[-1]})"
        click.echo(f"{star} {name:{width}}{site.scheduler:7}{site.organisation}{changed}".rstrip())


@command.command("show")
@click.argument("name", required=False)
@click.option("--origin", is_flag=True, help="Every value, and the file that it comes from.")
def show(name: str | None, origin: bool) -> None:
    """Show the site NAME, by default the one that this machine is."""
    from hpcsearch.sites.describe import origin_lines, site_lines
    from hpcsearch.sites.find import files_of
    from hpcsearch.sites.load import load_site

    known, here, _ = _this_machine()
    files = files_of(name or here, known)
    for line in origin_lines(files) if origin else site_lines(load_site(*files)):
        click.echo(line)


@command.command("check")
@click.argument("file", type=_FILE)
@click.option("--script", is_flag=True, help="Show the job script of its first queue too.")
def check(file: Path, script: bool) -> None:
    """Check FILE, together with the files of the same name that it goes over."""
    from hpcsearch.sites import check as checks
    from hpcsearch.sites.find import search_path, site_files

    below = [each for each in site_files(search_path()).get(file.stem, []) if not each.samefile(file)]
    checked = checks.check_file(*below, file)
    site = checked.site
    if script:
        for request in list(checks.sample_requests(site))[:1]:
            click.echo(checks.check_script(request))
    over = f", over {', '.join(map(str, below))}" if below else ""
    counts = f"queues: {len(site.queues)}, job scripts rendered: {checked.scripts}"
    click.echo(f"OK: {file}{over}: site {site.name}, {site.scheduler}, {counts}.")
    for text in checked.advice:
        click.echo(f"Note: {text}")


@command.command("detect")
def detect() -> None:
    """Say which site this machine is, and why."""
    _, here, why = _this_machine()
    click.echo(here)
    click.echo(why, err=True)


def _this_machine() -> tuple[dict[str, list[Path]], str, str]:
    """All site files by name, the name of this machine's, and why it is that one."""
    import os

    from hpcsearch.sites.find import explain_detection, search_path, site_files

    known = site_files(search_path())
    return known, *explain_detection(known, os.environ)
