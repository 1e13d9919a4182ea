"""The clients: qsub, qstat, qdel, qsig, pbs_release_nodes, pbs_tmrsh and pbsnodes.

Each takes the options that hpcsearch uses, and answers as a real OpenPBS 23.06 was recorded to; what was not recorded
is an error of its own kind (exit code 99), so that no test rests on an invented answer.
"""

from __future__ import annotations

import getopt
import getpass
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pbs import shown
from pbs.answers import Refusal, find, find_unfinished, number_of, permit, usage
from pbs.qsub import submit
from pbs.state import FINISHED, HELD, QUEUED, RUNNING, SERVER, Job, Server, State

_LOOK_S = 0.02

#: What each client says when the server is down, and its exit code.
_DOWN = {
    "qsub": (183, f"qsub: cannot connect to server {SERVER} (errno=15031)"),
    "qstat": (255, f"qstat: cannot connect to server {SERVER} (errno=15031)"),
    "qdel": (183, f"Couldn't connect to cluster: {SERVER}"),
    "pbs_release_nodes": (183, f"pbs_release_nodes: cannot connect to server {SERVER} (errno=15031)"),
    "pbsnodes": (1, f"pbsnodes: cannot connect to server {SERVER}, error=15031"),
}


def qsub(server: Server, argv: list[str]) -> int:
    job = submit(server, argv, getpass.getuser(), os.environ)
    print(job.id, flush=True)
    if not job.block:
        return 0
    while (now := server.read().jobs[job.number]).state != FINISHED:
        time.sleep(_LOOK_S)
    return (now.exit_status or 0) & 255


def qstat(server: Server, argv: list[str]) -> int:
    options, texts = getopt.getopt(argv, "xftBF:")
    given = dict(options)
    as_json = given.get("-F") == "json"
    state = server.read()
    if state.settings.down:
        print(shown.document("Jobs", {}) if as_json else "", end="\n" if as_json else "")
        return _no_server("qstat")
    if "-B" in given and as_json:
        print(shown.document("Server", {SERVER: shown.server(state)}))
        return 0
    jobs, code = _asked_for(state, texts, past="-x" in given)
    if as_json:
        print(shown.document("Jobs", {job.id: shown.job(job, state) for job in jobs}))
    elif "-f" in given and jobs:
        raise NotImplementedError("qstat -f prints JSON only")
    else:
        print(shown.table(jobs), end="")
    return code


def _asked_for(state: State, texts: list[str], past: bool) -> tuple[list[Job], int]:
    """The jobs of some ids, or all; of what cannot be shown the refusal is printed, and the last one's code given."""
    if not texts:
        return [job for job in state.jobs.values() if past or job.state != FINISHED], 0
    jobs, code = [], 0
    for text in texts:
        try:
            if not text[:1].isdigit():
                raise Refusal(170, f"Unknown queue destination {text}")
            job = find(state, text)
            if job.state == FINISHED and not past:
                words = f"{job.id} Job has finished, use -x or -H to obtain historical job information"
                raise Refusal(35, words)
            jobs.append(job)
        except Refusal as refusal:
            code = _print("qstat", refusal)
    return jobs, code


def qdel(server: Server, argv: list[str]) -> int:
    options, texts = getopt.getopt(argv, "xW:")
    user, code = getpass.getuser(), 0
    with server.changing() as state:
        for text in texts:
            try:
                if not text[:1].isdigit():
                    raise Refusal(1, f"illegally formed job identifier: {text}")
                if ("-x", "") in options and find(state, text).state == FINISHED:
                    del state.jobs[number_of(text)]
                    continue
                job = find_unfinished(state, text, named=True)
                permit(job, user, named=True)
                _delete(job, user, forced=("-W", "force") in options)
            except Refusal as refusal:
                code = _print("qdel", refusal)
    return code


def _delete(job: Job, user: str, *, forced: bool) -> None:
    if not job.deleted:
        job.closing_words(f"and terminated by {user}@{SERVER}")
        job.deleted = time.time()
    job.forced = job.forced or forced
    if job.state in (QUEUED, HELD):
        job.end(91, None)


def qsig(server: Server, argv: list[str]) -> int:
    options, texts = getopt.getopt(argv, "s:")
    name = dict(options).get("-s", "SIGTERM")
    with server.changing() as state:
        for text in texts:
            job = find_unfinished(state, text, named=False)
            permit(job, getpass.getuser(), named=True)
            short = name.removeprefix("SIG")
            known = {"NULL": 0, **{one.name.removeprefix("SIG"): one.value for one in signal.Signals}}
            if job.state != RUNNING or short not in known:
                raise Refusal(168, f"Request invalid for state of job {job.id}")
            job.signals.append(known[short])
    return 0


def pbs_release_nodes(server: Server, argv: list[str]) -> int:
    options, names = getopt.getopt(argv, "j:ak:")
    given = dict(options)
    if "-a" in given and "-k" in given:
        raise Refusal(2, f"-a and -k options cannot be used together\n{usage('pbs_release_nodes')}")
    if not names and not {"-a", "-k"} & given.keys():
        print(usage("pbs_release_nodes"), file=sys.stderr)
        return 2
    with server.changing() as state:
        job = find_unfinished(state, given.get("-j") or os.environ["PBS_JOBID"], named=False)
        permit(job, getpass.getuser(), named=False)
        if job.state != RUNNING or time.time() < job.started + state.settings.release_from_s:
            raise Refusal(168, "Request invalid for state of job ")
        primary, *others = job.hosts
        if primary in names:
            raise Refusal(162, f"Can't free '{primary}' since it's on a primary execution host ")
        leaving = set(others if "-a" in given else names) & set(others)
        if not leaving:
            raise Refusal(162, "Server returned error 15010 for job ")
        if "-k" in given:
            raise NotImplementedError("pbs_release_nodes takes names only")
        job.places = [chunk for chunk in job.places if chunk.node not in leaving]
        job.select = "+".join(f"1:ncpus={chunk.cpus}" for chunk in job.places)
        server.write_node_file(job)
    return 0


def pbs_tmrsh(server: Server, argv: list[str]) -> int:
    """Runs a command on a node of the job: its output is the job's, its input is nothing; it outlives this client."""
    _, (host, *command) = getopt.getopt(argv, "nl:")
    asked = {"job": number_of(os.environ["PBS_JOBID"]), "host": host, "argv": command}
    os.chdir(server.folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("tm")
        connection.sendall(json.dumps(asked).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "refusal" in answer:
        raise Refusal(1, str(answer["refusal"]))
    return int(answer["status"])


def pbsnodes(server: Server, argv: list[str]) -> int:
    options, names = getopt.getopt(argv, "avlSjF:")
    given = dict(options)
    state = server.read()
    if given.get("-F") == "json":
        print(shown.document("nodes", {name: shown.node(name, state) for name in names or state.nodes}))
    elif "-l" in given:
        for name in (name for name, node in state.nodes.items() if node.down):
            print(f"{name:<20} {shown.node_state(name, state)} {shown.NODE_DOWN}")
    else:
        raise NotImplementedError("pbsnodes knows -l and -F json only")
    return 0


CLIENTS: Mapping[str, Callable[[Server, list[str]], int]] = {
    one.__name__: one for one in (qsub, qstat, qdel, qsig, pbs_release_nodes, pbs_tmrsh, pbsnodes)
}


def main(folder: str, name: str, argv: list[str]) -> int:
    """Runs a client; gives its exit code."""
    server = Server(Path(folder))
    try:
        if name != "qstat" and name in _DOWN and server.read().settings.down:
            return _no_server(name)
        return CLIENTS[name](server, argv)
    except Refusal as refusal:
        return _print(name, refusal)
    except (NotImplementedError, getopt.GetoptError) as error:
        print(f"{name}: the stand-in does not know {argv}: {error}", file=sys.stderr)
        return 99


def _no_server(name: str) -> int:
    code, words = _DOWN[name]
    print(f"Communication failure.\n{words}", file=sys.stderr)
    return code


def _print(name: str, refusal: Refusal) -> int:
    sys.stdout.flush()
    print(f"{name}: {refusal.words}", file=sys.stderr)
    return refusal.code
