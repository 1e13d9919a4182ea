"""The run function of a script: one evaluation is one run of it, in a copy of its folder."""

from __future__ import annotations

import shutil
import sys
import time
import tokenize
from pathlib import Path
from typing import Any

from hpcsearch.errors import UsageError
from hpcsearch.evaluation import Configuration, Result
from hpcsearch.program import Command, ProgramError
from hpcsearch.runfunction import RunFunction, normalise
from hpcsearch.script.copying import fill
from hpcsearch.script.injecting import Injected, inject
from hpcsearch.script.metrics import EventFiles, Follower, LinesFile, Source
from hpcsearch.script.script import COPY, Script
from hpcsearch.tensorboard import FOLDER
from hpcsearch.tensorboard.metric import Metric
from hpcsearch.tensorboard.naming import run_name
from hpcsearch.worker import context
from hpcsearch.worker.context import ARTIFACTS
from hpcsearch.worker.program import Reporting, Running
from hpcsearch.worker.result import result_of
from hpcsearch.worker.stopping import Stopped

#: In an evaluation's directory: where its script runs, its arrays, and what is kept of what it has written.
WORK, CAPTURED = "work", "captured"


def run_function(folder: str | Path) -> RunFunction:
    """The run function of the script that is described in ``folder``."""
    made = Path(folder)
    script = Script.load(made)

    def run(configuration: Configuration, /) -> Result:
        return _evaluate(script, made / COPY, configuration)

    return run


def read_script(path: Path) -> tuple[str, str]:
    """A script's text, and the encoding that it is in."""
    encoding = "utf-8"
    if path.name.endswith(".py"):
        with path.open("rb") as file:
            try:
                encoding, _ = tokenize.detect_encoding(file.readline)
            except SyntaxError as error:
                raise UsageError(f"{path.name} cannot be read: {error}.", "Save it as UTF-8.") from None
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
        return text.read(), encoding


def _evaluate(script: Script, copy: Path, configuration: Configuration) -> Result:
    current = context.evaluation()
    directory = current.directory
    work = directory / WORK
    if current.attempt < 2:  # a later one goes on with what the one before has left
        shutil.rmtree(work, ignore_errors=True)
    fill(copy, work)
    values = script.values(configuration)
    text, encoding = read_script(copy / script.name)
    injected = inject(script, text, values)
    _write_arrays(script, values, directory / ARTIFACTS)
    if injected.text != text:
        _put(work / script.name, injected.text.encode(encoding, "surrogateescape"))
    try:
        result = _run(script, injected, configuration, directory)
    finally:
        _capture(script, work, directory / CAPTURED)
        _keep_event_files(copy, work, directory / FOLDER / run_name(configuration))
    shutil.rmtree(work)  # of those that fail it stays, to be looked at
    return result


def command_of(script: Script, injected: Injected, directory: Path) -> Command:
    """How a script is run."""
    file = str(directory / WORK / script.name)
    start = [sys.executable, "-u", script.name] if script.is_python else [file]
    env = {**injected.env, "HPCSEARCH_ARTIFACTS": str(directory / ARTIFACTS)}
    return Command([*start, *injected.arguments], env=env, cwd=directory / WORK, launcher="none")


def _run(script: Script, injected: Injected, configuration: Configuration, directory: Path) -> Result:
    command = command_of(script, injected, directory)
    if not script.metric:
        running = Running(command, configuration, str(directory), Reporting())
        running.finish()
        return result_of(command, str(directory), running.announced.last)
    metric = Metric.parse(script.metric)
    source: Source
    if script.metric_file:
        source = LinesFile(directory / WORK / script.metric_file, metric.name)
    else:
        source = EventFiles(directory, metric.name, time.time())
    running = Running(command, configuration, str(directory), lambda _number: None)
    follower = Follower(source, metric, running)
    try:
        running.finish()
    finally:
        objective = _of(follower)
    if isinstance(objective, BaseException):
        raise objective
    return normalise(objective)


def _of(follower: Follower) -> float | BaseException:
    """The objective, or why there is none: where the script has failed, that goes before."""
    try:
        return follower.objective()
    except (ProgramError, Stopped) as error:
        return error


def _put(file: Path, content: bytes) -> None:
    """Writes a script anew: never into a file that other evaluations may share."""
    mode = file.stat().st_mode & 0o777 | 0o600
    file.unlink()
    file.write_bytes(content)
    file.chmod(mode)


def _write_arrays(script: Script, values: dict[str, Any], folder: Path) -> None:
    arrays = [one.name for one in script.dimensions if one.length is not None]
    if arrays:
        import numpy as np  # which scripts without arrays do without

        folder.mkdir(mode=0o700, exist_ok=True)
        for name in arrays:
            np.save(folder / f"{name}.npy", np.array(values[name], dtype=float))


def _keep_event_files(copy: Path, work: Path, kept: Path) -> None:
    """What the script has written for TensorBoard goes where 'hpcsearch tensorboard' looks for it."""
    for path in work.rglob("*tfevents*"):
        inside = path.relative_to(work)
        if path.is_file() and not (copy / inside).exists():
            (kept / inside).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(path, kept / inside)


def _capture(script: Script, work: Path, kept: Path) -> None:
    """Keeps what the script has written and was asked for; what is not there is said in the evaluation's log."""
    for pattern in script.capture:
        found = sorted(work.glob(pattern))
        if not found:
            print(f"hpcsearch: there is nothing to capture by the name of {pattern}", file=sys.stderr)
        for path in found:
            target = kept / path.relative_to(work)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(path, target)
