"""What is known of a script that is searched: written by submit, read by the problem and by every evaluation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hpcsearch.evaluation import Configuration

#: In a workflow's folder of files that were made for it: this description, and the copy of the script's folder.
FILE = "script.json"
COPY = "project"

Value = bool | int | float | str


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter: the ``values`` that it takes, or a range from ``low`` to ``high``.

    ``length``: it is an array of so many numbers. ``middle`` is where an optimiser begins, None for anywhere.
    An optimiser may leave the range by ``beyond`` of its widths on either side.
    """

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    length: int | None = None
    middle: float | None = None
    beyond: float = 0.0

    @property
    def parts(self) -> list[str]:
        """The names of its numbers in the problem."""
        return [self.name] if self.length is None else [f"{self.name}[{index}]" for index in range(self.length)]


@dataclass(frozen=True)
class Script:
    """A script, how it gets its values, and where its objective is found."""

    name: str  # the file in its folder
    arguments: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    inject: str = "substitute"
    metric: str = ""  # as it was typed; empty for what the script prints
    metric_file: str = ""
    minimize: bool = False
    capture: tuple[str, ...] = ()
    command_line: str = ""
    git: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_python(self) -> bool:
        return self.name.endswith(".py")

    def values(self, configuration: Configuration) -> dict[str, Any]:
        """The values by name, those of an array as a list."""
        return {
            dimension.name: configuration[dimension.name]
            if dimension.length is None
            else [configuration[part] for part in dimension.parts]
            for dimension in self.dimensions
        }

    def save(self, folder: Path) -> None:
        """Writes it."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads it."""
        facts = json.loads(Path(folder, FILE).read_text(encoding="utf-8"))
        for name in ("arguments", "capture"):
            facts[name] = tuple(facts[name])
        dimensions = [Dimension(**{**one, "values": tuple(one["values"])}) for one in facts.pop("dimensions")]
        return cls(dimensions=tuple(dimensions), **facts)


def scalars(dimensions: Sequence[Dimension]) -> list[str]:
    """The names of those that are no arrays."""
    return [dimension.name for dimension in dimensions if dimension.length is None]
