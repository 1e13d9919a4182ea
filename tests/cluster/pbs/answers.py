"""How the clients end: with a result, or with the words and the exit code of a refusal."""

from __future__ import annotations

import re
from pathlib import Path

from pbs.state import FINISHED, SERVER, Job, State

#: What getopt's usage looks like, by client: printed behind some refusals.
USAGE = {name: Path(__file__).with_name(f"usage_{name}.txt") for name in ("qsub", "pbs_release_nodes")}


class Refusal(Exception):
    """What a client prints to stderr, and its exit code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


def usage(name: str) -> str:
    return USAGE[name].read_text().rstrip("\n")


def number_of(text: str) -> int:
    """The number in a job's id, as ``7``, ``7.pbshead`` or the array's ``7[]``; ValueError when it is none."""
    match = re.fullmatch(rf"(\d+)(?:\[\])?(?:\.{SERVER})?", text)
    if match is None:
        raise ValueError(text)
    return int(match[1])


def full(text: str) -> str:
    return text if text.endswith(f".{SERVER}") else f"{text}.{SERVER}"


def find(state: State, text: str) -> Job:
    """The job of an id; a Refusal when there is none."""
    try:
        return state.jobs[number_of(text)]
    except (ValueError, KeyError):
        raise Refusal(153, f"Unknown Job Id {full(text)}") from None


def find_unfinished(state: State, text: str, *, named: bool) -> Job:
    """The same where a finished job is as good as none; ``named`` is whether the refusal tells its id."""
    job = find(state, text)
    if job.state == FINISHED:
        raise Refusal(35, f"Job has finished {job.id}" if named else "Job has finished")
    return job


def permit(job: Job, user: str, *, named: bool) -> None:
    if user not in (job.owner, "root"):
        raise Refusal(159, f"Unauthorized Request  {job.id if named else ''}")
