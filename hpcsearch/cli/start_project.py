"""``hpcsearch start-project``: a package for search problems."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import click


@click.command("start-project")
@click.argument("path", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--install", is_flag=True, help="Install it into this Python's environment: pip install -e NAME.")
def command(path: Path, install: bool) -> None:
    """Make the folder NAME with a package of that name, in which 'hpcsearch new-problem' makes search problems."""
    from hpcsearch.project import start_project

    project = start_project(path)
    for file in (project.root / "pyproject.toml", project.folder / "__init__.py"):
        click.echo(f"Created {path.parent / file.relative_to(project.root.parent)}")
    if install:
        _install(project.root)
    click.echo(f"Now type: cd {path}\n          hpcsearch new-problem hps polynome2")


def _install(root: Path) -> None:
    from hpcsearch.errors import HpcsearchError

    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", str(root)]
    status = subprocess.run(pip, check=False).returncode
    if status:
        raise HpcsearchError(
            f"The project is made, but pip could not install it (exit code {status}): it says why above.",
            f"Try '{shlex.join(pip)}'. What is run from the folder {root} needs no installation.",
        )
    click.echo(f"Installed {root.name} for {sys.executable}")
