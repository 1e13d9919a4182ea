"""The front door for scripts: from what was typed to a folder with a problem, a run function and the script's copy."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hpcsearch.errors import LoadError, NotFoundError, UsageError
from hpcsearch.script import git, injecting
from hpcsearch.script.bounds import Bounds, parse_bounds
from hpcsearch.script.copying import protect, take_copy
from hpcsearch.script.ranges import Range, parse_range
from hpcsearch.script.run import command_of, read_script
from hpcsearch.script.script import COPY, Dimension, Script
from hpcsearch.search.registry import check_name
from hpcsearch.tensorboard.metric import Metric
from hpcsearch.tensorboard.scalars import require_tensorboard

COPY_LIMIT_BYTES = 500 << 20

#: How far an optimiser may leave bounds with the flag u, in their widths: one of ours, and a plug-in.
_BEYOND, _BEYOND_PLUGIN = 1.0, 1000.0

_PROBLEM = '''\
"""Made by 'hpcsearch submit script': the search space of the script in script.json."""

from pathlib import Path

from hpcsearch.script.space import problem_of

Problem = problem_of(Path(__file__).parent)
'''

_RUN = '''\
"""Made by 'hpcsearch submit script': runs the script in script.json with one configuration."""

from pathlib import Path

from hpcsearch.script.run import run_function

run = run_function(Path(__file__).parent)
'''


@dataclass(frozen=True)
class Asked:
    """What was typed. ``search`` and ``optimizer`` None: a grid of all values."""

    script: str
    arguments: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    search: str | None = None
    optimizer: str | None = None
    inject: str = "substitute"
    metric: str = ""
    metric_file: str = ""
    direction: str | None = None
    capture: tuple[str, ...] = ()
    copy_limit_bytes: int = COPY_LIMIT_BYTES


@dataclass(frozen=True)
class Prepared:
    """A folder with all that a search of the script needs, its strategy, and what is to be said."""

    folder: Path
    script: Script
    text: str
    search: str
    search_arguments: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    def trial(self) -> str:
        """What would be run for one configuration: how the script's text changes, and the command."""
        values = {one.name: _some(one) for one in self.script.dimensions}
        injected = injecting.inject(self.script, self.text, values)
        shown = ", ".join(f"{name}={_short(value)}" for name, value in values.items())
        changes = difflib.unified_diff(
            self.text.splitlines(), injected.text.splitlines(), self.script.name, f"with {shown}", lineterm="", n=1
        )
        command = command_of(self.script, injected, Path("EVALUATION"))
        start = ["python", *command.argv[1:]] if self.script.is_python else list(command.argv)
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in injected.env.items())
        return "\n".join([*changes, f"The script is run as: {variables} {shlex.join(start)}".replace(":  ", ": ")])


@contextmanager
def prepared(asked: Asked, besides: Path, ask: Callable[[str], str] | None) -> Iterator[Prepared]:
    """Makes the folder, which is there as long as the block runs.

    Args:
        asked: what was typed.
        besides: the folder of workflows, which is not copied.
        ask: asks for the direction where it is not clear; None where nobody sits at a terminal.

    Raises:
        UsageError: something that cannot be meant.
        NotFoundError: there is no such script.
    """
    file = Path(asked.script).expanduser().absolute()
    if not file.is_file():
        raise NotFoundError(f"There is no script {asked.script}.", "The script comes behind the options: ... train.py.")
    search, arguments, dimensions, notes = _search(asked)
    script = Script(
        file.name,
        asked.arguments,
        dimensions,
        asked.inject,
        asked.metric,
        _checked_path("--metric-file", asked.metric_file) if asked.metric_file else "",
        _minimize(asked, ask),
        tuple(_checked_path("--capture", path) for path in asked.capture),
        shlex.join([asked.script, *asked.arguments]),
        git.state(file.parent),
    )
    text, _ = read_script(file)
    notes += injecting.check(script, text)
    injecting.inject(script, text, {one.name: _some(one) for one in dimensions})
    if asked.metric and not asked.metric_file:
        require_tensorboard(f"The metric {asked.metric} cannot be read")
    with TemporaryDirectory(prefix="hpcsearch-script-") as name:
        folder = Path(name)
        take_copy(file.parent, folder / COPY, asked.copy_limit_bytes, besides)
        if asked.metric_file:  # what is there is another run's
            (folder / COPY / asked.metric_file).unlink(missing_ok=True)
        protect(folder / COPY)
        script.save(folder)
        (folder / "problem.py").write_text(_PROBLEM, encoding="utf-8")
        (folder / "run.py").write_text(_RUN, encoding="utf-8")
        notes += filter(None, [git.sentence(dict(script.git))])
        with _without_the_folder(folder):
            yield Prepared(folder, script, text, search, arguments, notes)


def _search(asked: Asked) -> tuple[str, dict[str, Any], tuple[Dimension, ...], list[str]]:
    """The strategy with its arguments, the hyperparameters, and what is to be said of them."""
    if not asked.hyperparameters:
        raise UsageError("There is nothing to search.", "Type --hyperparam lr=0.01:0.01:0.1, for instance.")
    if asked.search and asked.optimizer:
        raise UsageError("Both --search and --optimizer name a strategy.", "Leave out one of the two.")
    named = asked.search or asked.optimizer or "grid"
    plugin = bool(asked.optimizer) and re.search(r"\.py(:\w+)?$", named) is not None
    if not plugin:
        check_name(named)
    notes: list[str] = []
    if asked.optimizer and named != "grid":
        bounds = [parse_bounds(text) for text in asked.hyperparameters]
        notes = [
            f"{one.name}: a logarithmic scale cannot begin at 0; it begins at {one.low:g}."
            for one in bounds
            if one.floored
        ]
        dimensions = [_bounded(one, plugin) for one in bounds]
    else:
        dimensions = [_ranged(parse_range(text), named == "grid") for text in asked.hyperparameters]
    names = [one.name for one in dimensions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"The hyperparameter {twice} is given twice.", "Give each name once.")
    if plugin:
        file, colon, kind = named.partition(".py:")
        where = str(Path(f"{file}.py" if colon else file).expanduser().absolute()) + (f":{kind}" if colon else "")
        return "plugin", {"file": where}, tuple(dimensions), notes
    return named, {}, tuple(dimensions), notes


def _ranged(one: Range, grid: bool) -> Dimension:
    """For a grid all values, for everything else the range that they span."""
    numbers = [value for value in one.values if not isinstance(value, bool | str)]
    if grid or one.listed or len(numbers) < len(one.values) or len(numbers) == 1:
        return Dimension(one.name, one.values)
    return Dimension(one.name, (), min(numbers), max(numbers), one.log)


def _bounded(one: Bounds, plugin: bool) -> Dimension:
    beyond = (_BEYOND_PLUGIN if plugin else _BEYOND) if one.unbounded else 0.0
    middle = None if one.random or plugin else one.middle
    return Dimension(one.name, (), one.low, one.high, one.log, one.length, middle, beyond)


def _minimize(asked: Asked, ask: Callable[[str], str] | None) -> bool:
    metric = Metric.parse(asked.metric) if asked.metric else None
    if asked.metric_file and not metric:
        raise UsageError(f"--metric-file {asked.metric_file} needs to know which of its values.", "Type --metric NAME.")
    direction = asked.direction
    if metric is None:
        return direction == "min"
    if metric.minimize is None:
        if direction is None and ask is not None:
            direction = ask(metric.name)
        if direction is None:
            raise UsageError(
                f"Nobody knows whether more or less of {metric.name} is better.",
                f"Type --metric {metric.name}:min or :max for the least or greatest value of each run, or --direction "
                "min or max for its last value.",
            )
        return direction == "min"
    if direction is not None and (direction == "min") != metric.minimize:
        raise UsageError(f"--metric {asked.metric} and --direction {direction} differ.", "Leave one out.")
    return metric.minimize


def _checked_path(option: str, path: str) -> str:
    if not path or Path(path).is_absolute() or ".." in Path(path).parts:
        hint = "Name a file that the script writes, relative to its own folder."
        raise UsageError(f"{option} {path} leads out of the script's folder.", hint)
    return path


def _some(dimension: Dimension) -> Any:
    """One value of a hyperparameter, to show what it does."""
    if dimension.values:
        return dimension.values[0]
    low = dimension.low
    return low if dimension.length is None else [low] * dimension.length


def _short(value: Any) -> str:
    return f"{len(value)} numbers" if isinstance(value, list) else str(value)


@contextmanager
def _without_the_folder(folder: Path) -> Iterator[None]:
    """Errors of files that the user has not seen do not name them."""
    try:
        yield
    except LoadError as error:
        message = error.message.replace(f"{folder}/", "")
        raise UsageError(re.sub(r"^(problem|run)\.py, line \d+: ", "", message), error.hint) from None
