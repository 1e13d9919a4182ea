"""Runs one program in a slot, as a child of the slot's process, and takes its objective."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hpcsearch.evaluation import Configuration, Result
from hpcsearch.program import (
    CONTAINER_RUNTIMES,
    RESULT_FILE,
    Command,
    ProgramError,
    ProgramTimeout,
    argv_of,
    as_commands,
    environment_of,
    is_command,
    name_of,
    working_directory,
)
from hpcsearch.runfunction import RunFunction, as_run_function
from hpcsearch.worker import context
from hpcsearch.worker.processes import become_subreaper, descendants, has_children, kill_descendants, reap_children
from hpcsearch.worker.result import Announced, result_of
from hpcsearch.worker.stopping import Stopped

_READ_BYTES = 1 << 16
_KEPT_BYTES, _KEPT_LINES = 4000, 10  # of what was printed last on standard error

#: What still holds the program's output open after all that it started was killed is waited for so long (seconds).
_DRAIN_LIMIT_S = 10.0


def as_evaluated(function: Any, names: Sequence[str] | None) -> Callable[[Configuration], Any]:
    """A run function as what evaluates a configuration: one that is marked ``@hpcsearch.command`` runs a program.

    Raises:
        LoadError: it cannot be called with these hyperparameters.
    """
    if not is_command(function):
        run: RunFunction = as_run_function(function, names)
        return run
    commands, base = as_commands(function, names), str(Path.cwd())
    return lambda configuration: run_program(commands(configuration), configuration, base)


def run_program(command: Command, configuration: Configuration, base: str) -> Result:
    """Runs a program to its end, for the evaluation at hand. Nothing that it started is left when this returns.

    What it prints is printed on this process's standard output and error as well; each number that it announces is
    reported as ``objective``.

    Args:
        command: what to run.
        configuration: the configuration that it is told.
        base: the folder that its relative paths begin from.

    Raises:
        ProgramError: it cannot be started, ended with an exit code other than 0 or by a signal, or gave no objective.
        ProgramTimeout: it took longer than it may.
        BadResultError: its objective is no finite number.
    """
    running = Running(command, configuration, base, Reporting())
    running.finish()
    return result_of(command, str(context.evaluation().directory), running.announced.last)


class Reporting:
    """Reports each number that a program announces as ``objective``, counted by ``step``."""

    def __init__(self) -> None:
        self._step = 0

    def __call__(self, number: float) -> None:
        self._step += 1
        context.report(self._step, objective=number)


def _container_runtime(command: Command) -> str:
    known = list(CONTAINER_RUNTIMES)
    if command.container is None:
        return known[0]
    found = next((name for name in known if shutil.which(CONTAINER_RUNTIMES[name][0])), None)
    if found is None:
        message = f"{name_of(command)} runs in the container {command.container}, and this node has no {known[0]}"
        raise ProgramError(f"{message} nor {known[1]}", f"load the module that provides {known[0]} before you submit")
    return found


class Running:
    """A program under way for the evaluation at hand.

    Its output is taken by two threads, so that whoever waits for its end waits for it alone.

    Args:
        command: what to run.
        configuration: the configuration that it is told.
        base: the folder that its relative paths begin from.
        on_number: called, from another thread, with each number that it announces as its objective; may raise Stopped.

    Raises:
        ProgramError: it cannot be started.
    """

    def __init__(
        self, command: Command, configuration: Configuration, base: str, on_number: Callable[[float], None]
    ) -> None:
        _refuse_launcher(command)
        current = context.evaluation()
        directory = str(current.directory)
        Path(directory, RESULT_FILE).unlink(missing_ok=True)  # an attempt before this one may have left it
        environment = environment_of(command, configuration, current.id, directory, os.environ)
        argv = argv_of(command, directory, base, environment, _container_runtime(command))
        self.announced = Announced(self._heeding(on_number))
        self.stopped = False
        self._command = command
        self._errors: deque[bytes] = deque()
        self._timed_out = False
        become_subreaper()
        # What the run function's module has started is none of ours.
        self._others = frozenset(descendants(os.getpid()) if has_children() else ())
        self._process = _started(argv, working_directory(command, directory, base), environment)
        streams = ((self._process.stdout, 1, self.announced.feed), (self._process.stderr, 2, self._keep))
        self._takers = [threading.Thread(target=_take, args=one, daemon=True) for one in streams]
        for taker in self._takers:
            taker.start()

    def stop(self) -> None:
        """Ends it because of a stopping rule: what it has announced so far is what it gave."""
        self.stopped = True
        self._kill_all()

    def heed(self, tell: Callable[[], None]) -> None:
        """Calls ``tell``, which reports something, and ends the program where a stopping rule has decided so."""
        try:
            tell()
        except Stopped:
            self.stop()
        if context.is_stopped():
            self.stop()

    def finish(self) -> None:
        """Waits for its end, and for all that it printed.

        Raises:
            ProgramError: it did not end well, though nobody stopped it.
            ProgramTimeout: it took longer than it may.
        """
        timer = threading.Timer(self._command.timeout or 0.0, self._end)
        timer.daemon = True
        if self._command.timeout is not None:
            timer.start()
        try:
            code = self._process.wait()
        finally:
            timer.cancel()
            if timer.ident is not None:
                timer.join()  # it may be killing still, and would kill what this process starts next
            if has_children():
                self._kill_all()
            if not self._others:
                reap_children(_DRAIN_LIMIT_S)
        for taker in self._takers:
            taker.join(_DRAIN_LIMIT_S)
        self.announced.close()
        if not self.stopped:
            self._refuse(code)

    def _refuse(self, code: int) -> None:
        details = b"".join(self._errors)[-_KEPT_BYTES:].decode(errors="backslashreplace").strip()
        details = "\n".join(details.splitlines()[-_KEPT_LINES:])
        name = name_of(self._command)
        if self._timed_out:
            message = f"{name} ran longer than its time limit of {self._command.timeout:g} s"
            raise ProgramTimeout(message, details=details)
        if code:
            last = details.splitlines()[-1] if details else ""
            raise ProgramError(f"{name} {_ended(code)}{f': {last}' if last else ''}", details=details)

    def _heeding(self, on_number: Callable[[float], None]) -> Callable[[float], None]:
        return lambda number: self.heed(lambda: on_number(number))

    def _end(self) -> None:
        self._timed_out = True
        self._kill_all()

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        kill_descendants(os.getpid(), spare=self._others)

    def _keep(self, data: bytes) -> None:
        self._errors.append(data)
        while sum(map(len, self._errors)) - len(self._errors[0]) >= _KEPT_BYTES:
            self._errors.popleft()


def _refuse_launcher(command: Command) -> None:
    if command.needs_launcher:
        raise ProgramError(
            f"{name_of(command)} wants to be started by a launcher, with {command.nodes or 1} nodes and "
            f"{command.ranks_per_node or 1} processes on each, and job mode serial has none",
            "submit with -j mpi, or leave out nodes, ranks_per_node and launcher",
        )


def _started(argv: list[str], cwd: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise ProgramError(_unstartable(argv[0], cwd, error)) from None


def _take(stream: IO[bytes], fd: int, keep: Callable[[bytes], None]) -> None:
    """Passes a program's output on to ``fd`` until its end."""
    while data := stream.read(_READ_BYTES):
        keep(data)
        view = memoryview(data)
        with suppress(OSError):  # whoever printed it may still be right
            while view:
                view = view[os.write(fd, view) :]
    stream.close()


def _ended(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # most real-time signals have no name
        return f"was killed by signal {-code}"


def _unstartable(program: str, cwd: str, error: OSError) -> str:
    if not Path(cwd).is_dir():
        why = f"its folder, {cwd}, is not there"
    elif isinstance(error, FileNotFoundError) and Path(program).is_file():
        why = "the interpreter that its first line names is not there"
    else:
        why = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return f"{program} cannot be started: {why}"


_REASONS = {
    errno.ENOENT: "there is no such program",
    errno.EACCES: "it is not executable",
    errno.ENOEXEC: "it is no program for this machine, nor does its first line name an interpreter, as in #!/bin/sh",
}
