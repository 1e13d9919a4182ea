"""What qstat and pbsnodes print of jobs and nodes."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from pbs.state import FINISHED, SERVER, Chunk, Job, State

_VERSION = "23.06.06"
_TABLE = "Job id            Name             User              Time Use S Queue\n" + " ".join(
    ("----------------", "", "----------------", "----------------", "", "--------", "-", "-----")
)


def document(key: str, values: dict[str, Any]) -> str:
    """The server's JSON: with tabs, and without ``key`` where nothing is known."""
    head = {"timestamp": int(time.time()), "pbs_version": _VERSION, "pbs_server": SERVER}
    text = json.dumps(
        {**head, **({key: values} if values else {})}, indent="\t", separators=(",", ":\t"), ensure_ascii=False
    )
    # Empty dictionaries and lists are written as the server does
    text = re.sub(r"^(\t*)(.*):\t\{\}", r"\1\2:\t{\n\1}", text, flags=re.MULTILINE)
    return re.sub(r"\[\s*([^][{}]*?)\s*\]", _one_line, text)


def _one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r",\s+", ", ", match[1]) + "]"


def job(one: Job, state: State) -> dict[str, Any]:
    """The attributes of a job, in the server's order."""
    began = one.started > 0
    past = one.state == FINISHED
    vnodes = "+".join(f"({chunk.node}:ncpus={chunk.cpus})" for chunk in one.places)
    cpus = sum(chunk.cpus for chunk in one.places) or sum(count * int(c["ncpus"]) for count, c in one.chunks)
    return _without_none(
        {
            "Job_Name": one.name,
            "Job_Owner": f"{one.owner}@{SERVER}",
            "resources_used": _used(one, cpus) if began else None,
            "job_state": one.state,
            "queue": one.queue,
            "server": SERVER,
            "Account_Name": one.account or None,
            "Checkpoint": "u",
            "ctime": moment(one.made),
            "depend": one.depend or None,
            "Error_Path": _path(one, one.error, "e"),
            "exec_host": "+".join(map(_host, one.places)) if began else None,
            "exec_vnode": vnodes if began else None,
            "Hold_Types": one.hold,
            "Join_Path": one.join,
            "Keep_Files": one.keep,
            "Mail_Points": "a",
            "mtime": moment(one.changed),
            "Output_Path": _path(one, one.output, "o"),
            "Priority": 0,
            "qtime": moment(one.made),
            "Rerunable": str(one.rerunnable),
            "Resource_List": _resources(one, cpus),
            "stime": moment(one.started) if began else None,
            "obittime": moment(one.ended) if began and past else None,
            "session_id": one.session or None,
            "Shell_Path_List": one.shell or None,
            "jobdir": one.environment.get("PBS_O_HOME") if began else None,
            "substate": one.substate,
            "Variable_List": {name: retyped(value) for name, value in one.variables},
            "comment": one.comment or None,
            "etime": moment(one.eligible) if one.hold == "n" else None,
            "block": "True" if one.block else None,
            "run_count": 1 if began else None,
            "Stageout_status": 1 if one.exit_status is not None else None,
            "Exit_status": one.exit_status,
            "Submit_arguments": one.arguments,
            "executable": _jsdl("Executable", one.command[:1]),
            "argument_list": _jsdl("Argument", one.command[1:]),
            "history_timestamp": int(one.ended) if past else None,
            "project": one.project,
            "Submit_Host": SERVER,
        }
    )


def retyped(value: str) -> object:
    """A value of Variable_List as the server takes it for a number or a truth."""
    if value in ("true", "false"):
        return value == "true"
    if re.fullmatch(r"[+-]?\d+", value):
        return int(value)
    if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", value):
        number = float(value)
        return int(number) if number.is_integer() else number
    return value


def table(jobs: list[Job]) -> str:
    """What plain qstat prints."""
    lines = [
        f"{one.id:<17} {one.name[:16]:<16} {one.owner:<16} {_clock(one.used_s) if one.started else 0:>9} "
        f"{one.state} {one.queue:<16}"
        for one in jobs
    ]
    return "\n".join([_TABLE, *lines]) + "\n" if lines else ""


def moment(at: float) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(at))


def run_comment(one: Job) -> str:
    vnodes = "+".join(f"({chunk.node}:ncpus={chunk.cpus})" for chunk in one.places)
    return time.strftime(f"Job run at %a %b %d at %H:%M on {vnodes}", time.localtime(one.started))


def node(name: str, state: State) -> dict[str, Any]:
    """The attributes of a node."""
    holding = state.holding(name)
    cpus = sum(chunk.cpus for one in holding for chunk in one.places if chunk.node == name)
    down = state.nodes[name].down
    return _without_none(
        {
            "Mom": name,
            "ntype": "PBS",
            "state": node_state(name, state),
            "pcpus": state.settings.cpus,
            "jobs": [one.id for one in holding] or None,
            "resources_available": {
                "arch": "linux",
                "host": name,
                "mem": "4gb",
                "ncpus": state.settings.cpus,
                "vnode": name,
            },
            "resources_assigned": {"ncpus": cpus} if cpus else {},
            "comment": NODE_DOWN if down else None,
            "resv_enable": "True",
            "sharing": "default_shared",
            "license": "l",
        }
    )


_COUNTED = {"Transit": "T", "Queued": "Q", "Held": "H", "Waiting": "W", "Running": "R", "Exiting": "E", "Begun": "B"}


def server(state: State) -> dict[str, Any]:
    """The attributes of the server, but for what is assigned to jobs."""
    states = [one.state for one in state.jobs.values()]
    return {
        "server_state": "Active",
        "server_host": SERVER,
        "scheduling": "True",
        "total_jobs": len(states),
        "state_count": "".join(f"{word}:{states.count(letter)} " for word, letter in _COUNTED.items()),
        "acl_roots": "root",
        "default_queue": "batch",
        "log_events": 511,
        "mailer": "/usr/sbin/sendmail",
        "mail_from": "adm",
        "query_other_jobs": "True",
        "resources_default": {"ncpus": 1},
        "default_chunk": {"ncpus": 1},
        "scheduler_iteration": 60,
        "flatuid": "True",
        "resv_enable": "True",
        "node_fail_requeue": 310,
        "max_array_size": 10000,
        "resend_term_delay": 5,
        "pbs_license_min": 0,
        "pbs_license_max": 2147483647,
        "pbs_license_linger_time": 31536000,
        "license_count": "Avail_Global:1000000 Avail_Local:1000000 Used:0 High_Use:0",
        "pbs_version": _VERSION,
        "eligible_time_enable": "False",
        "job_history_enable": "True",
        "job_history_duration": "336:00:00",
        "max_concurrent_provision": 5,
        "clear_topjob_estimates_enable": "False",
        "max_job_sequence_id": 9999999,
    }


NODE_DOWN = "node down: communication closed"


def node_state(name: str, state: State) -> str:
    holding = state.holding(name)
    taken = sum(chunk.cpus for one in holding for chunk in one.places if chunk.node == name)
    words = ["down"] if state.nodes[name].down else []
    if any("excl" in one.place for one in holding):
        words.append("job-exclusive")
    elif taken >= state.settings.cpus:
        words.append("job-busy")
    return ",".join(words) or "free"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _used(one: Job, cpus: int) -> dict[str, Any]:
    none = {"cpupercent": 0, "cput": "00:00:00", "mem": "0kb"}
    return {**none, "ncpus": cpus, "vmem": "0kb", "walltime": _clock(one.used_s)}


def _resources(one: Job, cpus: int) -> dict[str, Any]:
    nodes = len(one.places) or sum(count for count, _ in one.chunks)
    values = {**one.resources, "ncpus": cpus, "nodect": nodes, "place": one.place, "select": one.select}
    if one.walltime_s:
        values["walltime"] = _clock(one.walltime_s)
    return dict(sorted(values.items()))


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _host(chunk: Chunk) -> str:
    return f"{chunk.node}/{chunk.index}" + (f"*{chunk.cpus}" if chunk.cpus > 1 else "")


def _path(one: Job, given: str, kind: str) -> str:
    if given.startswith("/"):
        return f"localhost:{given}"
    return f"{SERVER}:{one.cwd}/{given or f'{one.name}.{kind}{one.number}'}"


def _jsdl(kind: str, words: list[str]) -> str | None:
    return "".join(f"<jsdl-hpcpa:{kind}>{word}</jsdl-hpcpa:{kind}>" for word in words) or None
