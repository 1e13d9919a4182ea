"""``hpcsearch dashboard`` and ``tensorboard`` as a person starts them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcsearch.workflow.layout import Layout

#: What has not come after so long does not come.
LIMIT_S = 60.0


@contextmanager
def served(command: str, layout: Layout, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path, str]]:
    """The process, its socket, and what it has printed, while it serves."""
    argv = [sys.executable, "-m", "hpcsearch.cli", command, str(layout.root), *options]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    try:
        printed = ""
        while "Only" not in printed:
            line = process.stdout.readline()
            assert line, f"it has ended: {printed}"
            printed += line
        found = re.search(r"ssh -N -L \d+:(\S+) ", printed)
        assert found is not None
        yield process, Path(found[1]), printed
    finally:
        process.terminate()  # it takes its folder away
        try:
            process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            process.communicate()
