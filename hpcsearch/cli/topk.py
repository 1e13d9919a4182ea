"""``hpcsearch topk``: the best points, to be used as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from hpcsearch.cli import options

Points = Mapping[str, Mapping[str, Any]]


@click.command("topk")
@click.argument("results", metavar="RESULTS")
@click.option("-k", "count", type=options.Count(), default=1, show_default=True, metavar="K", help="How many.")
@options.output_file("Write them to a file, too: .json, .yaml or .csv.")
@click.option(
    "--minimize/--maximize",
    default=None,
    help="Which objectives of a results.csv are the best. By default the highest, or what its workflow says.",
)
@options.root
def command(
    results: str, count: int, output: Path | None, force: bool, minimize: bool | None, root: str | None
) -> None:
    """Print the K best points as YAML, the best first: of a results.csv, or of a workflow (a name or a path).

    Failed evaluations are left out. Floats have ten decimals, small ones six digits.
    """
    from hpcsearch.errors import NotFoundError, UsageError
    from hpcsearch.workflow.layout import find_layout
    from hpcsearch.workflow.results.outputs import checked_ending, written
    from hpcsearch.workflow.results.topk import best_of_file, best_of_workflow

    write = None if output is None else _WRITERS[checked_ending(output, _WRITERS, force)]
    if results.endswith(".csv") or os.path.isfile(results):  # noqa: PTH113 - pathlib raises when a name is too long
        ranking = best_of_file(Path(results), count, minimize)
    elif minimize is None:
        ranking = best_of_workflow(find_layout(results, root), count)
    else:
        raise UsageError(
            "A workflow's problem says itself which objectives are the best.", "Leave out --minimize and --maximize."
        )
    if not ranking.points:
        raise NotFoundError(f"No evaluation of {results} has finished.", "Only those have an objective.")
    points = {str(number): point for number, point in enumerate(ranking.points)}
    click.echo(_as_yaml(points), nl=False)
    if ranking.finished < count:
        click.echo(f"These are all: {ranking.finished} of the {count} asked for.", err=True)
    if output is not None and write is not None:
        with written(output) as draft:
            write(draft, points)
        click.echo(f"Written to {output}.", err=True)


def _as_yaml(points: Points) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(points), indent=4, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text


def _write_yaml(path: Path, points: Points) -> None:
    path.write_text(_as_yaml(points), encoding="utf-8")


def _write_json(path: Path, points: Points) -> None:
    import json

    path.write_text(json.dumps(points, indent=4) + "\n", encoding="utf-8")


def _write_csv(path: Path, points: Points) -> None:
    import csv

    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for point in points.values() for name in point}))
        writer.writeheader()
        writer.writerows(points.values())


_WRITERS: Mapping[str, Callable[[Path, Points], None]] = {
    ".json": _write_json,
    ".yaml": _write_yaml,
    ".yml": _write_yaml,
    ".csv": _write_csv,
}
