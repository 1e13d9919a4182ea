"""What a job has given back: a driver that is started again finds in its environment the job as it was at first.

It stands in a file of the allocation's folder, for as long as the job runs; a job that is queued again has other nodes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_FILE = "given_back.json"

log = logging.getLogger(__name__)


def note(folder: Path, nodes: Sequence[str], environment: Mapping[str, str | None]) -> None:
    """Notes nodes that the job does not have any more, and what launchers need from now on.

    Args:
        folder: the allocation's.
        nodes: their names.
        environment: variables' values, or None to unset them.

    Raises:
        OSError: it cannot be written.
    """
    gone, changes = _read(folder)
    known = {"run": _run(), "nodes": [*gone, *nodes], "environment": {**changes, **environment}}
    draft = folder / f"{_FILE}.new"
    draft.write_text(json.dumps(known), encoding="utf-8")
    draft.replace(folder / _FILE)


def recall(folder: Path) -> frozenset[str]:
    """The nodes that an earlier driver of this job gave back; launchers that are started from now on know it."""
    gone, changes = _read(folder)
    apply(changes)
    return frozenset(gone)


def apply(changes: Mapping[str, str | None]) -> None:
    """Launchers that are started from now on must know the smaller allocation."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _read(folder: Path) -> tuple[list[str], dict[str, str | None]]:
    try:
        known = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return (known["nodes"], known["environment"]) if known["run"] == _run() else ([], {})
    except FileNotFoundError:
        return [], {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("which nodes were given back before cannot be read: %s; those are tried in vain", error)
        return [], {}


def _run() -> str:
    """Tells the runs of a job apart that is queued again: each has another end."""
    return os.environ.get("HPCSEARCH_DEADLINE", "")
