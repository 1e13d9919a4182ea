"""``hpcsearch new-problem``: a search problem to start from."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("new-problem")
@click.argument("kind", type=click.Choice(["hps"]))
@click.argument("name", metavar="NAME")
def command(kind: str, name: str) -> None:
    """Make the problem NAME in the project that the current folder lies in.

    It is a sample that runs: a network with one hidden layer learns a polynomial. Put your data, model and
    hyperparameters in its place.
    """
    from hpcsearch.project import new_problem

    project, files = new_problem(name)
    click.echo(f"package:  {project.package}")
    for file in files:
        click.echo(f"Created {file.relative_to(project.root)}")
    module = f"{project.package}.{name}"
    away = "" if Path.cwd() == project.root else f"cd {project.root}\n            "
    click.echo(
        f"See it run: {away}python -m {module}.load_data\n"
        f"            python -m {module}.default_config\n"
        f"            hpcsearch hps ambs {name} --num-workers 2 --max-evals 50\n"
        f"            python -m {module}.best_config"
    )
