"""qsub: reads options and directives, and refuses what the recorded server refused, in its words."""

from __future__ import annotations

import getopt
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pbs.answers import Refusal, number_of, usage
from pbs.state import FINISHED, HELD, QUEUED, SERVER, Job, Server, State

_OPTIONS = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
_NAME_LENGTH = 236
_RESOURCES = frozenset({"walltime", "select", "place", "ncpus", "mem", "min_walltime", "max_walltime"})
_CHUNK = {"ncpus": int, "mpiprocs": int, "ompthreads": int, "mem": str, "host": str, "vnode": str}
_PLACES = re.compile(r"(free|pack|scatter|vscatter)?(:?(excl|exclhost|shared))?")
#: What the job learns of the submitter's environment, with PBS_O_ before the name.
_ORIGIN = ("HOME", "LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ")

Options = list[tuple[str, str]]


def submit(server: Server, argv: list[str], user: str, environment: Mapping[str, str]) -> Job:
    """Takes a job in; raises Refusal."""
    options, rest, executable = _parse(argv)
    text = "" if executable else _script_text(rest)
    options = _directives(text) + options
    values = dict(options)
    with server.changing() as state:
        job = _job(state, options, user, environment, " ".join(argv))
        job.name = _job_name(values.get("-N", "STDIN" if executable or not rest else Path(rest[0]).name))
        job.command = rest if executable else []
        _check_queue(state, job)
        _depend(state, job)
        state.jobs[job.number] = job
        state.next += 1
    if not executable:
        server.script(job).write_text(text, encoding="utf-8")
    return job


def _parse(argv: list[str]) -> tuple[Options, list[str], bool]:
    try:
        options, rest = getopt.getopt(argv, _OPTIONS)
    except getopt.GetoptError as error:
        letter = "-" if error.msg.startswith("option --") else error.opt
        raise Refusal(2, f"invalid option -- '{letter}'\n{usage('qsub')}") from None
    return options, rest, bool(rest) and argv[len(argv) - len(rest) - 1] == "--"


def _script_text(rest: list[str]) -> str:
    if not rest:
        return sys.stdin.read()
    try:
        return Path(rest[0]).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(1, "script file:: No such file or directory") from None


def _directives(text: str) -> Options:
    """The options of the lines that begin with #PBS, up to the first command."""
    found: Options = []
    for line in text.splitlines():
        if line.startswith("#PBS"):
            words = line.removeprefix("#PBS").strip()
            try:
                found += getopt.getopt(shlex.split(words), _OPTIONS)[0]
            except getopt.GetoptError as error:
                raise Refusal(1, f"invalid option -- '{error.opt}'\nqsub: directive error: {words} ") from None
        elif line.strip() and not line.startswith("#"):
            break
    return found


def _job(state: State, options: Options, user: str, environment: Mapping[str, str], arguments: str) -> Job:
    values = dict(options)
    queue = values.get("-q", "batch")
    if queue not in state.settings.queues:
        raise Refusal(170, "Unknown queue")
    resources = _resources(options)
    walltime_s = seconds(resources.pop("walltime", None)) or state.settings.queues[queue].default_s
    chunks, select, place = _shape(resources)
    extra = dict(_attributes(options))
    cwd = os.getcwd()  # noqa: PTH109
    now = time.time()
    job = Job(
        state.next,
        "",
        user,
        queue,
        cwd,
        select,
        place,
        walltime_s,
        arguments,
        account=values.get("-A", ""),
        project=values.get("-P", "_pbs_project_default"),
        join=values.get("-j", "n"),
        keep=values.get("-k", "n"),
        output=values.get("-o", ""),
        error=values.get("-e", ""),
        rerunnable=values.get("-r", "y") == "y",
        block="block" in extra,
        shell=values.get("-S", ""),
        resources=resources,
        chunks=chunks,
        depend=extra.get("depend", ""),
        made=now,
        changed=now,
        eligible=now,
    )
    if "-h" in values:
        job.state, job.substate, job.hold = HELD, 20, "u"
    own, shown = _variables(values, environment)
    origin = _origin(environment, cwd)
    end = [("PBS_O_QUEUE", queue), ("PBS_O_HOST", SERVER)]
    job.variables = [*((name, _escaped(value)) for name, value in origin), *shown, *end]
    job.environment = dict([*origin, *own, *end])
    return job


def _resources(options: Options) -> dict[str, str]:
    found: dict[str, str] = {}
    for option, value in options:
        for word in value.split(",") if option == "-l" else ():
            name, _, text = word.partition("=")
            if name not in _RESOURCES:
                raise Refusal(187, f"Unknown resource Resource_List.{name}")
            found[name] = text
    for name in ("ncpus", "mem"):
        if name in found and {"select", "place"} & found.keys():
            words = f'"-lresource=" cannot be used with "select" or "place", resource is: {name}'
            raise Refusal(5, words)
    return found


def seconds(text: str | None) -> int:
    """A duration as seconds, from ``90`` or ``1:30`` or ``0:01:30``; raises Refusal."""
    if text is None:
        return 0
    if not re.fullmatch(r"(\d+:){0,2}\d+", text):
        raise Refusal(166, "Illegal attribute or resource value Resource_List.walltime")
    parts = [int(part) for part in text.split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def _shape(resources: dict[str, str]) -> tuple[list[tuple[int, dict[str, str]]], str, str]:
    """The chunks, and select and place as the server shows them; both are taken out of the resources."""
    given = resources.pop("select", None)
    place = resources.pop("place", "free" if given is not None else "pack")
    if not _PLACES.fullmatch(place):
        raise Refusal(166, "Illegal attribute or resource value Resource_List.place")
    chunks = []
    for words in (given or f"1:ncpus={resources.pop('ncpus', '1')}").split("+"):
        count, *parts = words.split(":")
        values = dict(part.split("=", 1) for part in parts)
        for name, value in values.items():
            if name not in _CHUNK:
                raise Refusal(187, f"Unknown resource: {name}")
            if _CHUNK[name] is int and not value.isdigit():
                raise Refusal(166, f"Illegal attribute or resource value select.{name}")
        chunks.append((int(count), {**values, "ncpus": values.get("ncpus", "1")}))
    return chunks, shown_select(chunks), place


def shown_select(chunks: list[tuple[int, dict[str, str]]]) -> str:
    return "+".join(":".join([str(count), *(f"{name}={value}" for name, value in c.items())]) for count, c in chunks)


def _attributes(options: Options) -> Options:
    """The pairs of ``-W``."""
    pairs = [tuple(value.split("=", 1)) for option, value in options if option == "-W"]
    for name, value in pairs:
        if name == "depend" and not re.fullmatch(rf"after\w+(:\d+(\[\])?(\.{SERVER})?)+", value):
            raise Refusal(2, f"illegal -W value\n{usage('qsub')}")
        if name == "group_list":
            raise Refusal(197, "Bad GID for job execution")
        if name not in ("depend", "block", "umask", "release_nodes_on_stageout", "group_list"):
            raise Refusal(154, "Error (15002) submitting job")
    return [(name, value) for name, value in pairs]


def _job_name(name: str) -> str:
    if len(name) > _NAME_LENGTH:
        raise Refusal(2, "Job name is too long ")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise Refusal(2, f"illegal -N value\n{usage('qsub')}")
    return name


def _check_queue(state: State, job: Job) -> None:
    queue = state.settings.queues[job.queue]
    nodes = sum(count for count, _ in job.chunks)
    present = sum(one.queue == job.queue and one.state != FINISHED for one in state.jobs.values())
    refusals = (
        (not queue.enabled, 173, "Queue is not enabled"),
        (queue.closed, 159, "Unauthorized Request "),
        (queue.at_most is not None and present >= queue.at_most, 38, "would exceed queue generic's per-user limit"),
        (0 < queue.nodes < nodes, 188, "Job violates queue and/or server resource limits"),
        (0 < queue.walltime_s < job.walltime_s, 188, "Job violates queue and/or server resource limits"),
    )
    for refused, code, words in refusals:
        if refused:
            raise Refusal(code, words)


def _depend(state: State, job: Job) -> None:
    """A job that others must end before is held; one that waits for an unknown job ends without a word."""
    if not job.depend:
        return
    kind, *texts = job.depend.split(":")
    numbers = [number_of(text) for text in texts]
    job.depend = f"{kind}:" + ":".join(f"{number}.{SERVER}@{SERVER}" for number in numbers)
    job.state, job.substate, job.hold = HELD, 22, "s"
    if any(number not in state.jobs for number in numbers):
        job.end(92, None)
    elif all(state.jobs[number].state == FINISHED for number in numbers):
        job.state, job.substate, job.hold, job.depend = QUEUED, 10, "n", ""


def _variables(values: Mapping[str, str], environment: Mapping[str, str]) -> tuple[Options, Options]:
    """The variables of -V and -v, and as the JSON shows them."""
    taken: Options = [*environment.items()] if "-V" in values else []
    shown = [(name, _escaped(value)) for name, value in taken]
    given = values.get("-v", "")
    if given.count('"') % 2 or given.count("'") % 2 or (given and '"' in given and "'" in given):
        raise Refusal(1, "cannot send environment with the job")
    for word in re.findall(r"""((?:\\.|"[^"]*"|'[^']*'|[^,\\])+)""", given, re.DOTALL):
        name, equals, value = word.partition("=")
        if not equals and name not in environment:
            raise Refusal(1, "cannot send environment with the job")
        taken.append((name, value if equals else environment[name]))
        shown.append((name, taken[-1][1].replace("\\", "\\\\\\\\")))
    return taken, shown


def _origin(environment: Mapping[str, str], cwd: str) -> Options:
    user = pwd.getpwuid(os.getuid())
    own = {"HOME": user.pw_dir, "LOGNAME": user.pw_name, "SHELL": user.pw_shell, **environment}
    copied = [(f"PBS_O_{name}", own[name]) for name in _ORIGIN if name in own]
    fixed = {"INTERACTIVE_AUTH_METHOD": "resvport", "INTERACTIVE_ENCRYPT_METHOD": "", "WORKDIR": cwd, "SYSTEM": "Linux"}
    return [*copied, *((f"PBS_O_{name}", value) for name, value in fixed.items())]


def _escaped(value: str) -> str:
    return re.sub(r"([\\'\"])", r"\\\1", value)
