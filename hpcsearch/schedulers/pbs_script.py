"""The script of a submitit function on PBS, and the parameters that it is made from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.core.utils import JobPaths

from hpcsearch.sites.duration import format_duration, parse_duration


@dataclass(frozen=True)
class Parameter:
    """A parameter of the executor: what it means, and which values are taken."""

    meaning: str
    takes: Callable[[Any], bool]
    kind: str


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _from_zero(value: Any) -> bool:
    return _count(value) or (value == 0 and value is not False)


def _word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.@+:,/=-]+", value, re.ASCII) is not None


def _name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.+-]{0,229}", value, re.ASCII) is not None


def _line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _lines(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(line, str) for line in value)


def _time(value: Any) -> bool:
    try:
        return _count(value) or parse_duration(value) > 0
    except (AttributeError, ValueError):
        return False


def _memory(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[1-9]\d*([kmgt]?[bw])?", value, re.IGNORECASE | re.ASCII) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _resources(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_name(key) and _line(str(each)) for key, each in value.items())


_COUNT = "a whole number from 1"
PARAMETERS: Mapping[str, Parameter] = {
    "job_name": Parameter("the job's name", _name, "a letter, then letters, digits and _ . + -"),
    "time": Parameter("the walltime", _time, "minutes as a whole number, or a text like '1:30:00'"),
    "nodes": Parameter("how many chunks (nodes)", _count, _COUNT),
    "ntasks_per_node": Parameter("processes on each node", _count, _COUNT),
    "cpus_per_task": Parameter("CPUs of each process", _count, _COUNT),
    "gpus_per_node": Parameter("GPUs of each node (ngpus)", _from_zero, "a whole number from 0"),
    "mem": Parameter("memory of each node", _memory, "gigabytes as a number, or a text like '4gb'"),
    "queue": Parameter("the queue", _word, "a queue's name"),
    "account": Parameter("whom it is charged to (-A)", _word, "an account's name"),
    "project": Parameter("whom it is charged to (-P)", _word, "a project's name"),
    "chunk": Parameter("what each chunk asks for besides, such as 'system=polaris'", _word, "a text without blanks"),
    "place": Parameter("how chunks are placed, such as 'scatter'", _word, "a text without blanks"),
    "resources": Parameter("other resources (-l), such as {'filesystems': 'home'}", _resources, "a dict of texts"),
    "directives": Parameter("other options of qsub, one a line", _lines, "a list of texts"),
    "setup": Parameter("shell lines before the function", _lines, "a list of texts"),
    "teardown": Parameter("shell lines after the function", _lines, "a list of texts"),
    "launcher": Parameter("what starts several processes, such as 'mpiexec -n 2 -ppn 1'", _line, "a shell command"),
    "stderr_to_stdout": Parameter("both outputs in one file", lambda value: isinstance(value, bool), "True or False"),
}

#: Minutes of a job that names no time, as submitit has it.
_DEFAULT_MIN = 5


def check(parameters: Mapping[str, Any]) -> None:
    """Raises ValueError, with a sentence, for a parameter that is unknown or a value that cannot be meant."""
    for name, value in parameters.items():
        if name not in PARAMETERS:
            known = "\n".join(f"  {key}: {each.meaning}; {each.kind}" for key, each in PARAMETERS.items())
            raise ValueError(f"PBS jobs have no parameter {name!r}. They have:\n{known}")
        known_one = PARAMETERS[name]
        if not known_one.takes(value):
            raise ValueError(f"{name} is {known_one.meaning}: {value!r} is not {known_one.kind}.")
    for line in parameters.get("directives", ()):
        if not _line(line):
            raise ValueError(f"directives has {line!r}, which is not one line.")
    if tasks(parameters) > 1 and "launcher" not in parameters:
        raise ValueError(
            f"{tasks(parameters)} processes (nodes x tasks_per_node) need a launcher, for PBS starts one only: "
            "give pbs_launcher, such as 'mpiexec -n 2 -ppn 1', in the same call."
        )


def tasks(parameters: Mapping[str, Any]) -> int:
    """How many processes run the function."""
    count: int = parameters.get("nodes", 1) * parameters.get("ntasks_per_node", 1)
    return count


def text(command: str, folder: Path, parameters: Mapping[str, Any]) -> str:
    """The script that runs ``command``, shell text, with its outputs where submitit's JobPaths look for them."""
    options = {
        "-N": parameters.get("job_name", "submitit"),
        "-q": parameters.get("queue"),
        "-A": parameters.get("account"),
        "-P": parameters.get("project"),
        "-S": "/bin/bash",
        "-j": "oe",
        "-k": "doe",
        "-o": f"{JobPaths.get_first_id_independent_folder(folder)}/",
    }
    wanted = [f"{option} {shlex.quote(str(value))}" for option, value in options.items() if value is not None]
    paths = JobPaths(folder)
    stdout, stderr = _shell_path(paths.stdout), _shell_path(paths.stderr)
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#PBS {line}" for line in [*wanted, *_resource_options(parameters), *parameters.get("directives", ())]),
            "",
            # The name of an output cannot hold the job's id: PBS leaves it as it is
            f"mkdir -p -- {_shell_path(paths.folder)}",
            f"exec >>{stdout} {'2>&1' if parameters.get('stderr_to_stdout') else f'2>>{stderr}'}",
            'cd -- "$PBS_O_WORKDIR" || exit',
            'export PATH="$PATH${PBS_O_PATH:+:$PBS_O_PATH}"',
            *parameters.get("setup", ()),
            "export SUBMITIT_EXECUTOR=pbs",
            " ".join([parameters.get("launcher", ""), command]).strip(),
            "status=$?",
            *parameters.get("teardown", ()),
            'exit "$status"',
            "",
        ]
    )


def _resource_options(parameters: Mapping[str, Any]) -> list[str]:
    cpus = parameters.get("ntasks_per_node", 1) * parameters.get("cpus_per_task", 1)
    each = {"ncpus": cpus, "mpiprocs": parameters.get("ntasks_per_node"), "ngpus": parameters.get("gpus_per_node")}
    if "mem" in parameters:
        memory = parameters["mem"]
        each["mem"] = memory if isinstance(memory, str) else f"{int(memory * 1024)}mb"
    chunk = "".join(f":{name}={value}" for name, value in each.items() if value)
    extra = f":{parameters['chunk']}" if "chunk" in parameters else ""
    resources = {
        "select": f"{parameters.get('nodes', 1)}{chunk}{extra}",
        "place": parameters.get("place", "scatter" if parameters.get("nodes", 1) > 1 else None),
        "walltime": _walltime(parameters.get("time", _DEFAULT_MIN)),
        **parameters.get("resources", {}),
    }
    return [f"-l {shlex.quote(f'{name}={value}')}" for name, value in resources.items() if value is not None]


def _walltime(value: int | str) -> str:
    return format_duration(value * 60 if isinstance(value, int) else parse_duration(value))


def _shell_path(path: Path) -> str:
    """A path of JobPaths as shell text, with the job's id and the first task's number in it."""
    return '"$PBS_JOBID"'.join(shlex.quote(part) if part else "" for part in str(path).replace("%t", "0").split("%j"))
