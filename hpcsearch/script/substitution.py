"""Puts values into a Python script's text: at the places where a name is read, and nowhere else.

The name is replaced where its value is taken: ``SGD(lr=lr)`` becomes ``SGD(lr=0.05)``. Where it is assigned, names a
keyword, or stands in text or in a comment, it stays; and where it means something else, too: a loop's variable, a
function's parameter, an imported name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcsearch.errors import UsageError

_HINT = "Put the value in with --inject args or env, or with --inject regex, which looks at text alone."


@dataclass
class _Scope:
    """What names are bound to in a module, class, function or comprehension: by assignment, or by something else."""

    kind: str
    assigned: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)  # declared global or nonlocal


@dataclass(frozen=True)
class Places:
    """Where names are read (name, line from 0, first and last column in bytes), and where assigned values change."""

    reads: tuple[tuple[str, int, int, int], ...]
    changes: tuple[tuple[str, int], ...]  # name and line (from 1) of lr *= 0.9


def find_places(text: str, names: Iterable[str], file: str) -> Places:
    """Where ``names`` are read in a script.

    Raises:
        UsageError: it is no Python that this interpreter reads.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise UsageError(f"{file}{line} is no Python that can be read here: {error.msg}.", _HINT) from None
    except ValueError:  # bytes that are no letters, or a null character
        message = f"{file} is no Python that can be read here: it has bytes that are no text."
        raise UsageError(message, "Save it as UTF-8, or say its encoding: # -*- coding: latin-1 -*-.") from None
    finder = _Finder(frozenset(names), text)
    finder.inside(_Scope("module"), tree.body)
    return Places(tuple(finder.reads), tuple(finder.changes))


def substitute(text: str, values: Mapping[str, Any], file: str = "the script") -> str:
    """The script with ``values`` in place of their names.

    Raises:
        UsageError: it is no Python, or would be none any more.
    """
    reads = sorted(find_places(text, values, file).reads, key=lambda read: read[1:], reverse=True)
    for quoted in (repr, _quoted_twice):  # f'{act}' takes one of them, f"{act}" the other
        lines = _lines(text)
        for name, line, start, end in reads:
            whole = lines[line]
            value = _literal(values[name], whole[end : end + 1] == b".", quoted)
            lines[line] = whole[:start] + value.encode() + whole[end:]
        changed = b"".join(lines).decode()
        try:
            ast.parse(changed)
        except SyntaxError as error:
            where, why = error.lineno, error.msg
        else:
            return changed
    raise UsageError(f"{file} would be no Python any more, in line {where}: {why}.", _HINT)


def substitute_text(text: str, values: Mapping[str, Any]) -> str:
    """The rule of StudioML: wherever the word stands that no ``=`` follows, up to the end of some line."""
    for name, value in values.items():
        text = re.sub(rf"\b{re.escape(name)}\b(?=[^=]*\n)", lambda _: str(value), text)  # noqa: B023 - called here
    return text


def _lines(text: str) -> list[bytes]:
    """The lines as Python counts them, each with its end."""
    return [line.encode() for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)]


def _quoted_twice(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _literal(value: Any, before_dot: bool, quoted: Callable[[Any], str]) -> str:
    """A value as Python text that may stand wherever a name may."""
    text = quoted(value)
    return f"({text})" if text.startswith("-") or (before_dot and not isinstance(value, str)) else text


class _Finder(ast.NodeVisitor):
    """Walks through the scopes of a module, each with what it binds."""

    def __init__(self, names: frozenset[str], text: str) -> None:
        self.reads: list[tuple[str, int, int, int]] = []
        self.changes: list[tuple[str, int]] = []
        self._names = names
        self._lines = _lines(text)
        self._scopes: list[_Scope] = []

    def inside(self, scope: _Scope, nodes: Sequence[ast.AST]) -> None:
        """Visits what belongs to a scope of its own."""
        for node in nodes:
            _bind(scope, node)
        self._scopes.append(scope)
        for node in nodes:
            self.visit(node)
        self._scopes.pop()

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._names and isinstance(node.ctx, ast.Load) and not self._means_something_else(node.id):
            line, start = node.lineno - 1, node.col_offset
            end = start + len(node.id.encode())
            if self._lines[line][start:end] == node.id.encode():
                self.reads.append((node.id, line, start, end))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name) and target.id in self._names and not self._means_something_else(target.id):
            self.changes.append((target.id, node.lineno))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit_all([*node.decorator_list, *_outside(node.args), *([node.returns] if node.returns else [])])
        self.inside(_Scope("function", other=_parameters(node.args)), node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_all(_outside(node.args))
        self.inside(_Scope("function", other=_parameters(node.args)), [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self.inside(_Scope("class"), node.body)

    def _visit_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        scope = _Scope("function")
        for generator in node.generators:
            scope.other |= _names_in(generator.target)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.inside(scope, [*results, *first.ifs, *others])

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _visit_comprehension

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _means_something_else(self, name: str) -> bool:
        innermost = self._scopes[-1]
        for scope in reversed(self._scopes):
            if scope.kind == "class" and scope is not innermost:  # its names are not seen from functions in it
                continue
            if name in scope.outer:
                continue
            if name in scope.other:
                return True
            if name in scope.assigned:
                return False
        return False


def _bind(scope: _Scope, node: ast.AST) -> None:
    """Notes what a node binds in its scope; scopes within it have names of their own."""
    binder = _BINDERS.get(type(node))
    if binder:
        binder(scope, node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        scope.other.add(node.name)
    elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        for child in ast.iter_child_nodes(node):
            _bind(scope, child)


def _assign(scope: _Scope, node: Any) -> None:
    for target in getattr(node, "targets", None) or [node.target]:
        scope.assigned |= _names_in(target)


def _import(scope: _Scope, node: Any) -> None:
    scope.other |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}


def _loop(scope: _Scope, node: Any) -> None:
    scope.other |= _names_in(node.target)


def _capture(scope: _Scope, node: Any) -> None:
    scope.other |= {name for name in (getattr(node, "name", None), getattr(node, "rest", None)) if name}


def _with(scope: _Scope, node: Any) -> None:
    scope.other |= _names_in(node.optional_vars) if node.optional_vars else set()


#: What binds names, and how.
_BINDERS: Mapping[type[ast.AST], Callable[[_Scope, Any], None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _assign,
    ast.AugAssign: _assign,
    ast.NamedExpr: _assign,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.For: _loop,
    ast.AsyncFor: _loop,
    ast.withitem: _with,
    ast.ExceptHandler: _capture,
    ast.MatchAs: _capture,
    ast.MatchStar: _capture,
    ast.MatchMapping: _capture,
    ast.Global: lambda scope, node: scope.outer.update(node.names),
    ast.Nonlocal: lambda scope, node: scope.outer.update(node.names),
}


def _names_in(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _parameters(arguments: ast.arguments) -> set[str]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {one.arg for one in named if one}


def _outside(arguments: ast.arguments) -> Iterator[ast.AST]:
    """What stands among the parameters and belongs to the scope around: defaults and annotations."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    yield from arguments.defaults
    yield from (default for default in arguments.kw_defaults if default)
    yield from (one.annotation for one in named if one and one.annotation)
