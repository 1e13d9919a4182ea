"""A shell that a page's commands are typed into, one after the other."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

#: Where the pages' reader is at home, and the name of the machine there.
HOME, HOST = "/home/ada", "laptop"

_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


class Shell:
    """A bash in an empty home directory, with the commands of this Python's environment.

    Args:
        home: the directory.
        programs: a folder whose programs are found before the system's.
        variables: further environment variables.
    """

    def __init__(self, home: Path, programs: Path | None = None, **variables: str) -> None:
        self._home = home
        # Nothing else: no scheduler's variables, no defaults of whoever runs the tests.
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        folders = [Path(sys.executable).parent, *([programs] if programs else []), os.environ["PATH"]]
        path = os.pathsep.join(map(os.fspath, folders))
        self._environment = {**kept, "HOME": str(home), "PATH": path, "COLUMNS": "120", **variables}
        pipe, errors = subprocess.PIPE, subprocess.STDOUT
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=home, env=self._environment, stdin=pipe, stdout=pipe, stderr=errors, process_group=0
        )

    @property
    def folder(self) -> Path:
        """Where the shell is now."""
        return Path(f"/proc/{self._bash.pid}/cwd").readlink()

    def type(self, command: str) -> tuple[str, int]:
        """What a command prints, with the reader's home and machine in place of these, and its exit code."""
        assert self._bash.stdin and self._bash.stdout
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\0%d\\n' $?\n".encode())
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            text, end, code = line.partition(b"\0")
            lines.append(text)
            if end:
                printed = b"".join(lines).decode().replace(str(self._home), HOME)
                return re.sub(rf"\b{re.escape(socket.gethostname())}\b", HOST, printed), int(code)
        raise EOFError(f"the shell ended in {command!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if value is not None:  # in the middle of something, perhaps with searches under way
            os.killpg(self._bash.pid, signal.SIGKILL)
            for database in self._home.glob("**/workflow.db"):
                cancel = [sys.executable, "-m", "hpcsearch.cli", "cancel", str(database.parent)]
                subprocess.run(cancel, env=self._environment, capture_output=True, check=False)
        self._bash.communicate()  # it ends with its input
