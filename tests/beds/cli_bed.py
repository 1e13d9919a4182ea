"""What the tests of commands share: running one here, in a process of its own, or on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hpcsearch.cli.main import hpcsearch_command, run
from hpcsearch.monitor.snapshot import take_snapshot
from hpcsearch.workflow import database, store
from hpcsearch.workflow.layout import Layout, list_layouts

#: Whatever is waited for has come true long before so many seconds, on a busy machine too.
LIMIT_S = 60.0


def hpcsearch(*arguments: str) -> int:
    """Runs a command in this process; gives its exit code."""
    return run(hpcsearch_command, arguments, "hpcsearch")


def command(*arguments: str) -> list[str]:
    """A command, for a process of its own."""
    return [sys.executable, "-m", "hpcsearch.cli", *arguments]


def finished(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, check=False)


def on_a_terminal(*arguments: str, **variables: str) -> tuple[int, str]:
    """The exit code of a command on a terminal, and what was shown there."""
    main, end = pty.openpty()
    with subprocess.Popen(command(*arguments), stdout=end, stderr=end, env={**os.environ, **variables}) as process:
        os.close(end)
        shown = b""
        while True:
            try:
                shown += os.read(main, 65536)
            except OSError:  # the other end is closed
                break
        os.close(main)
    return process.returncode, shown.decode()


def change(layout: Layout, number: int = 1, **values: Any) -> None:
    """Changes what is recorded of an allocation."""
    engine = database.writer(layout.database)
    store.update_allocation(engine, number, **values)
    engine.dispose()


def once_running(folder: Path) -> Layout:
    """The workflow in ``folder``, once an evaluation runs there."""
    layout = Layout(folder.absolute())
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        if layout.database.exists() and take_snapshot(layout).running:
            return layout
        time.sleep(0.05)
    raise AssertionError("no evaluation has begun")


def end_all_searches() -> None:
    """Cancels what runs in ./workflows, and waits until it has ended."""
    for layout in list_layouts():
        finished("cancel", str(layout.root))
        await_end(layout)


def await_end(layout: Layout) -> None:
    """Waits until nothing works on a workflow any more."""
    until_s = time.monotonic() + LIMIT_S
    while take_snapshot(layout).live:
        assert time.monotonic() < until_s, f"{layout.name} still runs"
        time.sleep(0.05)
