"""What a page of the documentation tells its reader to write and to type, taken from its reStructuredText.

A code block of language ``console`` holds commands behind ``$ `` and, below each, what it prints. A code block with a
caption (or a name) that is a file's holds this file. What a block's ``:class:`` can say:

``varies``
    what is printed depends on which configurations a search has tried: whole numbers and choices stand for any other.
``slurm``, ``pbs``
    its commands are for a cluster with a queue ``debug`` (Slurm) or ``batch`` (PBS) and an account ``lab``.
``not-run``
    its commands need something that no test has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives

#: Classes of blocks whose commands are not run on just any machine.
ELSEWHERE = frozenset({"slurm", "pbs", "not-run"})


@dataclass(frozen=True)
class Command:
    """A command as it is typed, and what it prints; ``varies`` as described above."""

    line: int  # of the block, in the page
    text: str
    output: str
    varies: bool


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


class _CodeBlock(Directive):
    """``code-block`` as Sphinx has it, as far as it matters here."""

    has_content = True
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "caption": directives.unchanged,
        "name": directives.unchanged,
        "class": directives.class_option,
        "emphasize-lines": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        node = nodes.literal_block("", "\n".join(self.content))
        node["language"] = (self.arguments or [""])[0]
        node["file"] = self.options.get("caption") or self.options.get("name") or ""
        node["classes"] = self.options.get("class", [])
        node.line = self.lineno
        return [node]


directives.register_directive("code-block", _CodeBlock)


def read(page: Path, place: str = "") -> list[Command | File]:
    """The files and commands of a page in their order; with a ``place``, the commands in blocks of that class alone."""
    # Sphinx's own directives and roles mean nothing to docutils, and hold no blocks.
    quiet = {"report_level": 5, "halt_level": 5, "input_encoding": "utf-8"}
    tree = publish_doctree(page.read_text(encoding="utf-8"), str(page), settings_overrides=quiet)
    steps: list[Command | File] = []
    for block in tree.findall(nodes.literal_block):
        classes = set(block["classes"])
        if block.get("language") == "console":
            if classes & ELSEWHERE == ({place} if place else set()):
                steps += _commands(block.astext(), block.line or 0, "varies" in classes)
        elif re.fullmatch(r"[\w./-]+\.\w+", block.get("file", "")):
            steps.append(File(block["file"], block.astext() + "\n"))
    return steps


def _commands(text: str, line: int, varies: bool) -> Iterator[Command]:
    """Of ``$ command`` and what follows it; a command goes on behind a backslash at a line's end."""
    before, *sessions = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if before.strip():
        raise ValueError(f"line {line}: a console block begins with '$ ', not with {before!r}")
    for session in sessions:
        match = re.match(r"(?:.*\\\n)*.*", session)
        assert match
        yield Command(line, match[0], session[match.end() :].strip("\n"), varies)


#: What stands for something else of its kind in what a command is said to print.
_VARIABLE = re.compile(
    r"(?P<rest>\.\.\.)"
    r"|(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
    r"|(?P<number>-?\b\d+\.\d+(?:e[-+]?\d+)?)"
    r"|(?P<rule>\*{5,})"
    r"|(?P<space>\s+)"
)
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_ANY = {"rest": r".*?", "time": r"[-\d]{10} [:\d]{8}", "number": _NUMBER, "rule": r"\*+", "space": r"\s+"}

#: The same where the search decides: any number, and what the pages' problems let it choose among.
_CHOICES = "identity|relu|sigmoid|tanh|logistic|adam|sgd"
_VARIABLE_CHOICE = re.compile(rf"{_VARIABLE.pattern}|(?P<whole>\b\d+\b)|(?P<choice>\b(?:{_CHOICES})\b)")
_ANY_CHOICE = {**_ANY, "whole": _NUMBER, "choice": f"(?:{_CHOICES})"}


def printed_as_told(command: Command, printed: str) -> bool:
    """Whether a command printed what its page says.

    ``...`` stands for anything. A number with a fraction, a point in time and a row of stars stand for any other, and
    white space for any other white space: tables are as wide as what is in them.
    """
    variable, kinds = (_VARIABLE_CHOICE, _ANY_CHOICE) if command.varies else (_VARIABLE, _ANY)
    told, pattern, at = command.output, "", 0
    for match in variable.finditer(told):
        assert match.lastgroup
        pattern += re.escape(told[at : match.start()]) + kinds[match.lastgroup]
        at = match.end()
    return re.fullmatch(pattern + re.escape(told[at:]), printed.strip("\n"), re.DOTALL) is not None
