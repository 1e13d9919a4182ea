"""Classes that are found by name, entry point or file: strategies and stopping rules."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcsearch.errors import SearchError
from hpcsearch.runfunction import Reference, load


@dataclass(frozen=True)
class Kind:
    """What is looked for, and in which words it is spoken of.

    Attributes:
        noun: what it is called.
        plural: what several are called.
        article: how one that does not exist is spoken of.
        group: the entry point group in which a package declares its own.
        built_in: what is here, also where the package is used from a checkout that is not installed.
        methods: what a class must have.
        contract: the name of the protocol that describes them.
        option: how its settings are typed.
        given: how many arguments, the first ones, are given to the class and are no settings.
        extras: those that need a package which is not installed by itself, but with the extra of the same name.
    """

    noun: str
    plural: str
    article: str
    group: str
    built_in: Mapping[str, str]
    methods: tuple[str, ...]
    contract: str
    option: str
    given: int = 0
    extras: Collection[str] = ()

    def known(self) -> dict[str, str]:
        """All by name, each with where its class is (``module:Class``)."""
        from importlib.metadata import entry_points  # takes longer to import than all the rest

        return {**self.built_in, **{entry.name: entry.value for entry in entry_points(group=self.group)}}

    def check_name(self, name: str) -> None:
        """Raises SearchError when none is called so; files, which may hold one, are not looked at."""
        known = self.known()
        if not is_file(name) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise SearchError(
                f"There is no {self.article} {name!r}.{guess}",
                f"Known {self.plural}: {', '.join(sorted(known))}; or path/to/file.py:Class for one of your own.",
            )

    def find(self, name: str, cwd: str | os.PathLike[str] | None = None) -> Any:
        """The class, by name or as ``path/to/file.py:Class``, where a relative path begins in ``cwd``.

        Raises:
            SearchError: there is none, or it cannot be imported.
            LoadError: there is no such file or class, or importing the file fails.
        """
        if is_file(name):
            return self._checked(name, load(Reference.parse(name, name.rpartition(":")[2], cwd or Path.cwd())))
        self.check_name(name)
        where = self.known()[name]
        module, _, attribute = where.partition(":")
        try:
            return self._checked(name, getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            extra = name in self.extras
            hint = f"Type: pip install 'hpcsearch[{name}]'" if extra else f"Install what it needs; it is {where}."
            raise SearchError(f"{self.noun.capitalize()} {name!r} cannot be imported: {error}.", hint) from error

    def _checked(self, name: str, found: Any) -> Any:
        missing = [method for method in self.methods if not callable(getattr(found, method, None))]
        if not inspect.isclass(found) or missing:
            *others, last = self.methods
            methods = f"{', '.join(others)} and {last}"
            raise SearchError(
                f"{self.noun.capitalize()} {name!r} is {found!r:.60}, not a class with the methods {methods}.",
                f"{self.contract} describes what it needs.",
            )
        return found


def is_file(name: str) -> bool:
    """Whether a name means a class in a file."""
    return name.rpartition(":")[0].endswith(".py")
