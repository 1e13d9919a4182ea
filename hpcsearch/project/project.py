"""A project on disk: a folder whose pyproject.toml has a table ``[tool.hpcsearch]`` that names its package."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import UsageError

#: The files without which a folder is no problem.
PROBLEM_FILES = ("problem.py", "model_run.py")


@dataclass(frozen=True)
class Project:
    """The project in the folder ``root``, whose problems are packages inside its package ``package``."""

    root: Path
    package: str

    @property
    def folder(self) -> Path:
        """The folder of the package."""
        return self.root / self.package

    @property
    def problems(self) -> list[str]:
        """The names of its problems."""
        return problems_in(self.folder)


def problems_in(folder: Path) -> list[str]:
    """The names of the folders in ``folder`` that hold a problem and its run function."""
    found = folder.glob(f"*/{PROBLEM_FILES[0]}")
    return sorted(file.parent.name for file in found if all((file.parent / name).is_file() for name in PROBLEM_FILES))


def find_project(folder: Path) -> Project | None:
    """The project that ``folder`` lies in, if any.

    Raises:
        UsageError: its pyproject.toml is no TOML, or names no package that is there.
    """
    for root in (folder, *folder.parents):
        file = root / "pyproject.toml"
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        if "[tool.hpcsearch]" in text:
            return Project(root, _package(file, text))
    return None


def _package(file: Path, text: str) -> str:
    try:
        package = tomllib.loads(text)["tool"]["hpcsearch"].get("package")
    except (tomllib.TOMLDecodeError, LookupError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Mend it.") from None
    if not isinstance(package, str) or not (file.parent / package / "__init__.py").is_file():
        raise UsageError(
            f"{file} says that the project's package is {package!r}, and there is no such package beside it.",
            'Give the name of a folder with an __init__.py: package = "..." below [tool.hpcsearch].',
        )
    return package
