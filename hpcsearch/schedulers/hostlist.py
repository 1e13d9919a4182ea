"""Many host names as one short text: ``n1,n2,n3,n7`` as ``n[1-3,7]``, which Slurm reads everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


def compress(hosts: Iterable[str]) -> str:
    """The hosts, each once. Numbers of different widths (n9, n10 and n09) stay apart, as they are different names."""
    plain: list[str] = []
    groups: dict[tuple[str, int], set[int]] = {}
    for host in sorted(set(hosts)):
        match = _NUMBERED.fullmatch(host)
        if match is None:
            plain.append(host)
        else:
            groups.setdefault((match[1], len(match[2])), set()).add(int(match[2]))
    return ",".join([*plain, *(_group(prefix, width, numbers) for (prefix, width), numbers in groups.items())])


def _group(prefix: str, width: int, numbers: Iterable[int]) -> str:
    spans = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        span = [f"{number:0{width}d}" for _, number in run]
        spans.append(span[0] if len(span) == 1 else f"{span[0]}-{span[-1]}")
    text = ",".join(spans)
    return f"{prefix}[{text}]" if len(spans) > 1 or "-" in text else prefix + text
