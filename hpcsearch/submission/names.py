"""Looks for a user's file and the name in it without importing anything: for login nodes that lack the modules."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from hpcsearch.errors import LoadError
from hpcsearch.reference import Reference


def look_up(text: str, default_name: str, cwd: Path) -> str:
    """The reference in ``text`` in the form that is stored, once the file is seen to define the name.

    Raises:
        LoadError: there is no such file, it is no Python, or it does not define the name.
    """
    reference = Reference.parse(text, default_name, cwd)
    candidates = list(_candidates(reference))
    for path, name in candidates:
        if path.is_file():
            _check_defined(path, name)
            return str(reference)
    tried = ", ".join(dict.fromkeys(str(path) for path, _ in candidates[:4]))
    raise LoadError(
        f"There is no file for {text!r} (looked for {tried}).", "Give a path such as problem.py, or pkg.module:name."
    )


def _candidates(reference: Reference) -> Iterator[tuple[Path, str]]:
    """Files that the reference may mean, and the name that it then asks for."""
    if reference.is_file:
        yield Path(reference.source), reference.name
        return
    forms = [(reference.source, reference.name)]
    package, _, last = reference.source.rpartition(".")
    if reference.bare and package:
        forms.append((package, last))
    for module, name in forms:
        for folder in dict.fromkeys((reference.search_path, *sys.path)):
            base = Path(folder).joinpath(*module.split("."))
            yield base.with_name(base.name + ".py"), name
            yield base / "__init__.py", name


def _check_defined(path: Path, name: str) -> None:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read as Python: {error}.", "Mend the file, or name another.") from None
    defined = set(_names(tree))
    if name in defined or (name == "Problem" and "problem" in defined):
        return
    near = difflib.get_close_matches(name, sorted(defined), n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    raise LoadError(f"{path} does not define {name}.", f"{guess}Say what to take with {path.name}:name.")


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=alias):
                yield (alias or name).partition(".")[0]
