"""Finds the line of a key in a TOML file, which the standard parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*([\w\"'.\- ]+?)\s*=")


def line_of(text: str, keys: Sequence[str]) -> int:
    """The number, from 1, of the line that says most of ``keys``; 0 when none says any."""
    best, best_line = 0, 0
    header: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    depth = 0  # of brackets that a value's earlier lines left open
    for number, line in enumerate(text.splitlines(), start=1):
        if depth == 0:
            if heading := _HEADER.fullmatch(line):
                path = header = _parts(heading.group(1))
            elif assignment := _ASSIGNMENT.match(line):
                path = (*header, *_parts(assignment.group(1)))
            else:
                continue
        told = _shared(path, keys)
        if told == len(path):
            told += _shared_inline(line, keys[told:])
        if told > best:
            best, best_line = told, number
        depth = 0 if path is header else depth + _opened(line)
    return best_line


def _opened(line: str) -> int:
    bare = re.sub(r"\"[^\"]*\"|'[^']*'|#.*", "", line)
    return sum(bare.count(bracket) for bracket in "[{") - sum(bare.count(bracket) for bracket in "]}")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _shared(path: Sequence[str], keys: Sequence[str]) -> int:
    count = 0
    for one, other in zip(path, keys, strict=False):
        if one != other:
            break
        count += 1
    return count


def _shared_inline(line: str, keys: Sequence[str]) -> int:
    """How many of ``keys`` stand in inline tables of the line."""
    count = 0
    for key in keys:
        if not re.search(rf"[{{,]\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            break
        count += 1
    return count
