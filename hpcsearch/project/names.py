"""Names that a package may have: Python can import it, and it hides nothing else."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys

from hpcsearch.errors import UsageError

#: A part of a Python name that is also the name of a distribution and of a workflow.
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_]{0,98}[A-Za-z0-9])?")

_FORM = "Use up to 100 letters, digits and underscores, beginning with a letter and not ending with an underscore"


def check_package_name(name: str, kind: str) -> str:
    """Returns ``name`` when it can name a package that is a ``kind`` (project, problem).

    Raises:
        UsageError: Python could not import it under that name, or it would hide another module of that name.
    """
    if not _NAME.fullmatch(name):
        guess = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:100].rstrip("_")
        hint = f"{_FORM}, such as {guess}." if name.isascii() and _NAME.fullmatch(guess) else f"{_FORM}."
        raise UsageError(f"{name!r} cannot be the name of a {kind}: it becomes the name of a Python package.", hint)
    if why := _taken(name):
        raise UsageError(f"{name!r} cannot be the name of a {kind}: {why}.", f"Choose another one, such as my_{name}.")
    return name


def _taken(name: str) -> str:
    if keyword.iskeyword(name):
        return "it is a word of the Python language"
    if name in sys.stdlib_module_names:
        return "it would hide the module of that name in Python's standard library"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # without an origin it is a mere folder, such as one beside this
        return ""
    return f"it would hide the module of that name that is installed as {spec.origin}"
