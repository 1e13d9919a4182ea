"""Notebooks and programs as functions: their text travels, and is run as the main program of a rank."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hpcsearch.errors import NotFoundError, UsageError


@dataclass(frozen=True)
class Program:
    """The text of a program, which a call runs; it may leave its metric in the variable ``metric``."""

    path: str
    text: str

    @property
    def __name__(self) -> str:
        return Path(self.path).name

    def __call__(self) -> Any:
        from hpcsearch.tensorboard import logdir

        os.environ["TENSORBOARD_LOGDIR"] = logdir()
        folder = str(Path(self.path).parent)  # as for any program, what is beside it can be imported
        if folder not in sys.path:
            sys.path.insert(0, folder)
        main: Any = ModuleType("__main__")
        sys.modules["__main__"] = main  # for good: a rank runs nothing behind it
        main.__file__, main.get_ipython = self.path, _Magic
        exec(compile(self.text, self.path, "exec"), vars(main))
        return vars(main).get("metric")


class _Magic:
    """Stands for the notebook's shell, whose magic commands mean nothing to a program."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **_: print(f"{' '.join(map(str, arguments))}: means nothing here", file=sys.stderr)


def program_of(path: str | os.PathLike[str]) -> Program:
    """The program in a file; a notebook is converted.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is neither a notebook nor a program, or cannot be read as one.
    """
    file = Path(path).expanduser().absolute()
    if file.suffix not in (".py", ".ipynb"):
        raise UsageError(f"{file} is neither a notebook nor a program.", "Give a function, or a .ipynb or .py file.")
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {file}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from None
    text = _converted(file, text) if file.suffix == ".ipynb" else text
    try:
        compile(text, str(file), "exec")
    except SyntaxError as error:
        raise UsageError(f"{file} is no Python: {error}.") from None
    return Program(str(file), text)


def _converted(file: Path, text: str) -> str:
    try:
        nbformat, nbconvert = import_module("nbformat"), import_module("nbconvert")
    except ImportError:
        raise UsageError(
            f"To run {file}, nbconvert is needed.", "Install it: pip install 'hpcsearch[notebook]'."
        ) from None
    try:
        program, _ = nbconvert.PythonExporter().from_notebook_node(nbformat.reads(text, as_version=4))
    except Exception as error:  # noqa: BLE001 - whatever a file that is no notebook makes these raise
        raise UsageError(f"{file} is no notebook: {error}.") from None
    return str(program)
