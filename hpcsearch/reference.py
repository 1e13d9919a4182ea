"""References to the user's objects, such as ``problem.py:Problem``, and loading what they point to.

This module is imported on every node, so it uses the standard library alone, and of that little: each rank of a launch
waits for it. So paths are texts here; pathlib costs more to import than all else.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from hpcsearch.errors import HpcsearchError, LoadError

_OTHER_NAMES = {"Problem": "problem"}  # a name that is not there -> the one to try instead
_HIDDEN_FRAMES = (
    os.path.dirname(__file__) + os.sep,
    os.path.dirname(importlib.__file__) + os.sep,
    "<frozen importlib",
)
_MESSAGE_CHARS = 2_000
_TRACEBACK_CHARS = 20_000
_FORMS = "give pkg.module:name, pkg.module.name, path/to/file.py or path/to/file.py:name"


@dataclass(frozen=True)
class Reference:
    """Where an object is: the name ``name`` in a Python file or a module.

    Attributes:
        source: the absolute path of a Python file, or the dotted name of a module.
        name: the object's name there. For a dotted source without a name of its own (``bare``) it is the default, and
            the last part of the source may turn out to be the name instead.
        search_path: the absolute folder that must be importable: the file's own, or the one the module was named in.
        bare: whether a dotted source came without a name.

    ``str()`` gives a form that :meth:`parse` reads again, from anywhere for a file, from ``search_path`` for a module.
    """

    source: str
    name: str
    search_path: str
    bare: bool = False

    @classmethod
    def parse(cls, text: str, default_name: str, cwd: str | os.PathLike[str]) -> Reference:
        """Reads ``pkg.module.name``, ``pkg.module:name``, ``pkg.module``, ``path/file.py`` or ``path/file.py:name``.

        Nothing is imported, and no file is looked for.

        Raises:
            LoadError: the text has none of these forms.
        """
        source, name = text, ""
        if not text.endswith(".py"):
            source, _, name = text.rpartition(":") if ":" in text else (text, "", "")
        folder = os.path.abspath(cwd)
        if source.endswith(".py"):
            path = os.path.abspath(os.path.join(folder, os.path.expanduser(source)))
            reference = cls(path, name or default_name, os.path.dirname(path))
        else:
            reference = cls(source, name or default_name, folder, bare=not name)
            if not all(part.isidentifier() for part in source.split(".")):
                raise LoadError(f"{text!r} names neither a Python file nor a module", _FORMS)
        if not reference.name.isidentifier():
            raise LoadError(f"{reference.name!r} in {text!r} cannot be a Python name", _FORMS)
        return reference

    @property
    def is_file(self) -> bool:
        return self.source.endswith(".py")

    def __str__(self) -> str:
        return self.source if self.bare else f"{self.source}:{self.name}"


def load(reference: Reference) -> Any:
    """Imports what ``reference`` points to and returns it. A file is imported once per process.

    A file may import those beside it by their bare names, and if it is part of a package, those of the package too.

    Raises:
        LoadError: no such file, module or name, or the import failed; then with the user's own traceback lines.
    """
    for folder in (_package_root(reference), reference.search_path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if reference.is_file:
        return _attribute(_load_file(reference.source), reference.name)
    if not reference.bare:
        return _attribute(_load_module(reference.source, reference.search_path), reference.name)
    package, _, last = reference.source.rpartition(".")
    try:
        module = _load_module(reference.source, reference.search_path)
    except _NoModuleError:
        if not package:
            raise
        return _attribute(_load_module(package, reference.search_path), last)
    return _attribute(module, reference.name)


def text_of(exc: BaseException) -> str:
    """What an exception says, or its class name where it says nothing; cut where it is very long."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 # a user's own __str__ may raise anything
        text = ""
    return text[:_MESSAGE_CHARS] or type(exc).__name__


def user_traceback(exc: BaseException) -> str:
    """The formatted traceback without hpcsearch's and importlib's frames; empty when no other is left."""
    whole = traceback.TracebackException.from_exception(exc)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if _is_users(frame)])
            pending += [part.__cause__, part.__context__]
    if not whole.stack and not isinstance(exc, SyntaxError):
        return ""
    return "".join(whole.format())[-_TRACEBACK_CHARS:]


def _package_root(reference: Reference) -> str:
    """The folder from which a file's own package can be imported by its full name; ``search_path`` for any other."""
    folder = reference.search_path
    while reference.is_file and os.path.isfile(os.path.join(folder, "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


class _NoModuleError(LoadError):
    """There is no module of the name asked for; a module that fails to import another one is something else."""


def _load_file(path: str) -> ModuleType:
    stem = os.path.splitext(os.path.basename(path))[0]
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', stem)}_{zlib.crc32(os.fsencode(path)):08x}"
    if name in sys.modules:
        return sys.modules[name]
    if not os.path.isfile(path):
        raise _no_file(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a path that ends in .py always has them
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        del sys.modules[name]
        raise _import_error(exc, path) from exc
    return module


def _no_file(path: str) -> LoadError:
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        return LoadError(f"{path} is a folder, not a Python file")
    if not os.path.isdir(folder):
        return LoadError(f"there is no file {path}, nor its folder")
    return LoadError(
        f"there is no file {path}", _nearest(name, (one for one in os.listdir(folder) if one[-3:] == ".py"))
    )


def _load_module(name: str, search_path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise _import_error(exc, name) from exc
        *parents, last = exc.name.split(".")
        there = _modules_in(os.path.join(search_path, *parents))
        message = f"there is no module {exc.name!r} in {search_path} or on Python's search path"
        raise _NoModuleError(message, _nearest(last, there)) from exc
    except (Exception, SystemExit) as exc:
        raise _import_error(exc, name) from exc


def _modules_in(folder: str) -> Iterable[str]:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        stem, ending = os.path.splitext(name)
        if ending == ".py" or os.path.isdir(os.path.join(folder, name)):
            yield stem


def _attribute(module: ModuleType, name: str) -> Any:
    for candidate in (name, _OTHER_NAMES.get(name, name)):
        if hasattr(module, candidate):
            return getattr(module, candidate)
    where = module.__file__ or module.__name__
    own = (one for one, value in vars(module).items() if one[0] != "_" and not _is_imported(value, module))
    raise LoadError(f"{where} has no {name!r}", _nearest(name, own))


def _is_imported(value: Any, module: ModuleType) -> bool:
    """Whether a module, class or function comes from elsewhere, so that nobody means it."""
    described = isinstance(value, type | FunctionType)
    return isinstance(value, ModuleType) or (described and value.__module__ != module.__name__)


def _import_error(exc: BaseException, what: str) -> LoadError:
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if _is_users(frame)]
    if isinstance(exc, HpcsearchError) and frames:
        return LoadError(f"{frames[-1].filename}, line {frames[-1].lineno}: {exc.message}", exc.hint)
    hint = ""
    if isinstance(exc, ModuleNotFoundError):
        hint = f"install it for {sys.executable}, or load what provides it first"
    elif isinstance(exc, ImportError) and "relative import" in str(exc):
        hint = "a file that imports from its own package must be given as a module, pkg.module:name"
    reason = (
        f"it called sys.exit({exc.code!r})" if isinstance(exc, SystemExit) else f"{type(exc).__name__}: {text_of(exc)}"
    )
    return LoadError(f"cannot import {what}: {reason}\n{user_traceback(exc)}".rstrip(), hint)


def _is_users(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_HIDDEN_FRAMES)


def _nearest(name: str, there: Iterable[str]) -> str:
    import difflib  # here, because no node needs it unless something is wrong

    names = sorted(there)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names[:20]) or 'none'}"
