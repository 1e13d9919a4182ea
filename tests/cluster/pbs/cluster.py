"""What a PBS server, its scheduler and its moms do, as one loop: schedules jobs, keeps their time, serves pbs_tmrsh."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pbs import output
from pbs.machine import Machine, signal_sessions
from pbs.schedule import place, release_dependents
from pbs.shown import run_comment
from pbs.state import EXITING, RUNNING, SERVER, Job, Server, State

_LOOK_S = 0.05

#: What runs a script: as the login shell that PBS puts above it, it is ended by signals other than SIGTERM.
_TOP_SHELL = ("/bin/sh", "-c", 'trap : TERM; "$@"; exit $?', "top-shell")


@dataclass
class Task:
    """A session that the task manager has started on a node; ``client`` is the pbs_tmrsh that waits for its end."""

    job: int
    node: str
    client: socket.socket | None = None


class Cluster:
    """The running cluster: ``tasks`` are by their leaders, of which a job's own is its script's."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.machine = Machine()
        self.tasks: dict[int, Task] = {}
        self.listener = socket.socket(socket.AF_UNIX)

    def bring_up(self) -> None:
        """Raises CalledProcessError or OSError where this machine does not permit it."""
        self.machine.bring_up(list(self.server.read().nodes), self.server.folder / "hosts")
        with self.server.changing() as state:
            for name, node in state.nodes.items():
                node.uts = self.machine.namespace(name)
        os.chdir(self.server.folder)  # a socket's path must be short
        self.listener.bind("tm")
        self.listener.listen(64)

    def run(self) -> None:
        """Never ends."""
        while True:
            ready, _, _ = select.select([self.listener], [], [], _LOOK_S)
            dead, ended = self.machine.reap()
            with self.server.changing() as state:
                for name, node in state.nodes.items():
                    if node.crash:
                        self.machine.crash(name)
                    node.down = node.down or node.crash or name in dead
                for pid, status in ended.items():
                    self._ended(state, pid, os.waitstatus_to_exitcode(status))
                for job in state.jobs.values():
                    self._keep(state, job)
                release_dependents(state)
                for job in place(state):
                    self._start(state, job)
                if ready:
                    self._serve(state)

    def _ended(self, state: State, pid: int, code: int) -> None:
        """A session's leader has ended; a node that has died tells nothing."""
        task = self.tasks.pop(pid, None)
        if task is None or (task.node in state.nodes and state.nodes[task.node].down):
            return
        job = state.jobs[task.job]
        if pid == job.session:
            job.exit_status = code if code >= 0 else 256 - code
            job.now(EXITING, 50)
        elif task.client is not None:
            _answer(task.client, {"status": code if code >= 0 else 128 - code})

    def _keep(self, state: State, job: Job) -> None:
        """What time and users demand of a running job."""
        if job.state == EXITING:
            self._finish(job)
        if job.state != RUNNING:
            return
        if job.forced and state.nodes[job.hosts[0]].down:
            job.end(91, None)  # there is nobody who could tell more
            return
        now, settings = time.time(), state.settings
        job.used_s = int(now - job.started)
        late = job.walltime_s > 0 and now >= job.started + job.walltime_s + settings.term_late_s
        if not job.terminated and (job.deleted or late):
            job.signals.append(signal.SIGTERM)
            job.terminated = now
        kill_s = settings.delete_kill_s if job.deleted else settings.kill_s
        if job.forced or (job.terminated and now >= job.terminated + kill_s):
            job.signals.append(signal.SIGKILL)
        for number in job.signals:
            signal_sessions([job.session], number)
        job.signals.clear()
        kept = {SERVER, *job.hosts}
        released = [pid for pid, task in self.tasks.items() if task.job == job.number and task.node not in kept]
        signal_sessions(released, signal.SIGKILL)

    def _start(self, state: State, job: Job) -> None:
        self.server.write_node_file(job)
        job.now(RUNNING, 42)
        job.started = job.changed
        job.comment = run_comment(job)
        job.environment |= self._environment(job)
        shell = job.shell or job.environment["SHELL"]
        argv = job.command or [*_TOP_SHELL, shell, str(self.server.script(job))]
        program = job.command[0] if job.command else shell
        if shutil.which(program, path=job.environment["PATH"]) is None:
            job.exit_status = 254
            job.now(EXITING, 50)
            return
        node = SERVER if state.settings.service_node else job.places[0].node
        job.session = self._task(job, node, argv)

    def _environment(self, job: Job) -> dict[str, str]:
        home, name, shell = (job.environment[f"PBS_O_{what}"] for what in ("HOME", "LOGNAME", "SHELL"))
        return {
            "HOME": home,
            "LOGNAME": name,
            "USER": name,
            "SHELL": shell,
            "PATH": f"{self.server.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "ENVIRONMENT": "BATCH",
            "NCPUS": str(job.places[0].cpus),
            "OMP_NUM_THREADS": str(job.places[0].cpus),
            "PBS_ENVIRONMENT": "PBS_BATCH",
            "PBS_JOBDIR": home,
            "PBS_JOBCOOKIE": f"{job.number:032X}",
            "PBS_JOBID": job.id,
            "PBS_JOBNAME": job.name,
            "PBS_NODEFILE": str(self.server.node_file(job)),
            "PBS_NODENUM": "0",
            "PBS_QUEUE": job.queue,
            "PBS_TASKNUM": "1",
        }

    def _finish(self, job: Job) -> None:
        """Ends what is left of a job's sessions; what has left them stays."""
        left = [pid for pid, task in self.tasks.items() if task.job == job.number]
        signal_sessions([job.session, *left], signal.SIGKILL)
        if left:
            return
        output.bring_back(self.server, job)
        if job.deleted:
            job.end(91, 265 if job.forced else 271)
            return
        status = -29 if job.terminated else job.exit_status
        job.closing_words("and failed" if status else "and finished")
        job.end(93 if status else 92, status)

    def _serve(self, state: State) -> None:
        """Runs what a pbs_tmrsh asks for, on a node of its job."""
        client, _ = self.listener.accept()
        line = client.makefile().readline()
        if not line:
            return  # it was killed before it could ask
        asked = json.loads(line)
        job, host = state.jobs.get(asked["job"]), asked["host"]
        if job is None or job.state != RUNNING or host not in job.hosts or state.nodes[host].down:
            _answer(client, {"refusal": f"no task can be started on {host}"})
        else:
            self._task(job, host, asked["argv"], client)

    def _task(self, job: Job, node: str, argv: list[str], client: socket.socket | None = None) -> int:
        pid = self.machine.start(node, argv, job.environment, output.streams(self.server, job))
        self.tasks[pid] = Task(job.number, node, client)
        return pid


def _answer(client: socket.socket, answer: dict[str, object]) -> None:
    with suppress(OSError):  # it may not wait any more
        client.sendall(json.dumps(answer).encode() + b"\n")
    client.close()


def main(folder: str) -> None:
    """Brings the cluster up, says so on stdout, and runs until it is killed."""
    cluster = Cluster(Server(Path(folder)))
    cluster.bring_up()
    print("up", flush=True)
    cluster.run()
