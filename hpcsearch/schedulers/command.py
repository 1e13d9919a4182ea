"""The one place that runs a scheduler's commands."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import SchedulerError


@dataclass(frozen=True)
class Completed:
    """A command that has ended: its exit status and what it wrote."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """What it said about itself, in one line."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return " ".join(line.strip() for line in lines) or "nothing"


def run(
    argv: Sequence[str],
    timeout_s: float = 60.0,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Runs ``argv`` to its end, whatever its status; raises SchedulerError when it is missing or takes too long."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            env=None if environment is None else dict(environment),
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError:
        raise SchedulerError(
            f"the command {argv[0]} is not on this machine",
            "Is this a login node, and is the scheduler's module loaded? Another site is named with --site.",
        ) from None
    except PermissionError:
        raise SchedulerError(f"the command {argv[0]} may not be run by this user") from None
    except subprocess.TimeoutExpired:
        raise SchedulerError(
            f"{argv[0]} gave no answer within {timeout_s:g} s", "The scheduler is busy or down; try again later."
        ) from None
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


#: A shell cannot trap a signal that it was started to ignore, and Python ignores the first two.
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def start_detached(argv: Sequence[str], stdout: Path, stderr: Path) -> int:
    """Starts ``argv`` in a session of its own, its output appended to the files; gives its process id."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.posix_spawnp(
            argv[0],
            list(argv),
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(stdout), flags, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, str(stderr), flags, 0o600),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_RESTORED,
        )
    except OSError as error:
        raise SchedulerError(f"{argv[0]} cannot be started: {error.strerror}") from None
