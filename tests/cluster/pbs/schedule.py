"""Which queued jobs start, and on which nodes."""

from __future__ import annotations

import time

from pbs.state import FINISHED, HELD, QUEUED, RUNNING, Chunk, Job, State

_NEVER = "Can Never Run: Not enough total nodes available"
_NOT_NOW = "Not Running: Not enough free nodes available"
_STOPPED = "Not Running: Queue not started."


def release_dependents(state: State) -> None:
    """Jobs that waited for others are queued when those have ended; afterok wants them to have gone well."""
    for job in state.jobs.values():
        if job.state != HELD or not job.depend:
            continue
        kind, *ids = job.depend.split(":")
        others = [state.jobs.get(int(text.split(".")[0])) for text in ids]
        ended = [other for other in others if other is None or other.state == FINISHED]
        if kind == "afterok" and any(other is None or other.exit_status for other in ended):
            job.end(92, None)
        elif len(ended) == len(others):
            job.hold, job.depend, job.eligible = "n", "", time.time()
            job.now(QUEUED, 10)


def place(state: State) -> list[Job]:
    """Gives nodes to the queued jobs that can start now, which are returned; the others get a comment."""
    starting = []
    for job in sorted(state.jobs.values(), key=lambda one: one.number):
        if job.state != QUEUED:
            continue
        queue = state.settings.queues[job.queue]
        running = sum(one.state == RUNNING and one.queue == job.queue for one in state.jobs.values())
        if not queue.started:
            job.comment = _STOPPED
        elif not _fits(state, job, dict.fromkeys(state.nodes, state.settings.cpus)):
            job.comment = _NEVER
        elif 0 < queue.running <= running or not (places := _fits(state, job, _free(state, job))):
            job.comment = _NOT_NOW
        else:
            job.places = places
            job.state = RUNNING
            starting.append(job)
    return starting


def _free(state: State, job: Job) -> dict[str, int]:
    """The CPUs that a job may have on each node; a job that wants nodes for itself gets those that are empty."""
    free = {name: state.free(name) for name in state.nodes}
    return {name: n if n == state.settings.cpus or "excl" not in job.place else 0 for name, n in free.items()}


def _fits(state: State, job: Job, free: dict[str, int]) -> list[Chunk]:
    """Where a job's chunks go, given what is free; nothing where they do not fit."""
    left = dict(free)
    places: list[Chunk] = []
    for resources in (resources for count, resources in job.chunks for _ in range(count)):
        cpus = int(resources["ncpus"])
        used = {chunk.node for chunk in places}
        allowed = [
            name
            for name in left
            if left[name] >= cpus
            and not ("scatter" in job.place and name in used)
            and not ("pack" in job.place and used and name not in used)
        ]
        if not allowed:
            return []
        name = allowed[0]
        index = state.settings.cpus - left[name]
        left[name] -= cpus
        places.append(Chunk(name, cpus, int(resources.get("mpiprocs", "1")), index))
    return places
