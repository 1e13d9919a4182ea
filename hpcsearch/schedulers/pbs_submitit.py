"""A submitit plug-in for PBS: ``submitit.AutoExecutor(folder, cluster="pbs")`` for anybody who has hpcsearch installed.

submitit finds it through the entry points of the group ``submitit``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from submitit.core.core import EquivalenceDict, InfoWatcher, Job, PicklingExecutor
from submitit.core.job_environment import JobEnvironment
from submitit.core.logger import get_logger
from submitit.core.utils import DelayedSubmission, FailedSubmissionError, JobPaths

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers import pbs, pbs_script
from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause
from hpcsearch.schedulers.command import run
from hpcsearch.schedulers.pbs_nodes import node_file_hosts

R = TypeVar("R", covariant=True)

#: submitit's own words for a job's state, which are Slurm's.
_WORDS: Mapping[AllocationState, str] = {
    AllocationState.QUEUED: "PENDING",
    AllocationState.RUNNING: "RUNNING",
    AllocationState.UNKNOWN: "UNKNOWN",
}
_END_WORDS: Mapping[EndCause, str] = {
    EndCause.NONE: "ENDED",
    EndCause.DONE: "COMPLETED",
    EndCause.FAILED: "FAILED",
    EndCause.WALLTIME: "TIMEOUT",
    EndCause.CANCELLED: "CANCELLED",
    EndCause.NODE_FAILURE: "NODE_FAIL",
    EndCause.OUT_OF_MEMORY: "OUT_OF_MEMORY",
    EndCause.PREEMPTED: "PREEMPTED",
}

#: Where launchers tell a process its place: among all, on its node, and how many there are.
_RANKS = ("PALS_RANKID", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
_LOCAL_RANKS = ("PALS_LOCAL_RANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK")
_SIZES = ("PALS_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


class PBSInfoWatcher(InfoWatcher):
    """Asks for all jobs with one qstat."""

    def update(self) -> None:
        ids = sorted(self._registered - self._finished)
        if not ids:
            return
        self._num_calls += 1
        try:
            found = pbs.query(ids)
        except SchedulerError as error:
            get_logger().warning("The state of PBS jobs is not known at present: %s", error.message)
        else:
            self._info_dict.update({key: _info(key, status) for key, status in found.items()})
        self._last_status_check = time.time()
        self._finished.update(each for each in ids if self.is_done(each, mode="cache"))

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        return self.get_info(job_id, mode=mode).get("State") or "UNKNOWN"


def _info(job_id: str, status: AllocationStatus) -> dict[str, str]:
    word = _END_WORDS[status.cause] if status.state is AllocationState.ENDED else _WORDS[status.state]
    return {"JobID": job_id, "State": word, "Reason": status.reason}


class PBSJob(Job[R]):
    """A function in a PBS job."""

    watcher = PBSInfoWatcher(delay_s=30)

    def cancel(self, check: bool = True) -> None:
        """Deletes the job, if it has not ended; raises SchedulerError where PBS refuses that and ``check`` is True."""
        try:
            pbs.cancel(self.job_id)
        except SchedulerError:
            if check:
                raise


class PBSJobEnvironment(JobEnvironment):
    """Where a function finds itself in a PBS job."""

    _env: ClassVar[dict[str, str]] = {"job_id": "PBS_JOBID"}

    @property
    def hostnames(self) -> list[str]:
        return node_file_hosts(os.environ) or [self.hostname]

    @property
    def num_nodes(self) -> int:
        return len(self.hostnames)

    @property
    def num_tasks(self) -> int:
        return _first_number(_SIZES, 1)

    @property
    def global_rank(self) -> int:
        return _first_number(_RANKS, 0)

    @property
    def local_rank(self) -> int:
        return _first_number(_LOCAL_RANKS, 0)

    @property
    def node(self) -> int:
        short = [name.partition(".")[0] for name in self.hostnames]
        here = self.hostname.partition(".")[0]
        return short.index(here) if here in short else 0

    def _handle_signals(self, paths: JobPaths, submission: DelayedSubmission) -> None:
        """Leaves signals alone: PBS warns of no end, and lets no user put a job back into the queue."""


def _first_number(names: tuple[str, ...], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), otherwise)


class PBSExecutor(PicklingExecutor):
    """submitit's executor for PBS: each function becomes a job of its own, submitted with qsub.

    Args:
        folder: for scripts, pickles and logs; on a file system that the nodes share. ``%j`` stands for the job's id.
        python: the command that starts Python there, as shell text; this Python by default.
    """

    job_class = PBSJob

    def __init__(
        self,
        folder: Path | str,
        max_num_timeout: int = 3,
        max_pickle_size_gb: float = 1.0,
        python: str | None = None,
    ) -> None:
        super().__init__(folder, max_num_timeout, max_pickle_size_gb)
        self.python = shlex.quote(sys.executable) if python is None else python

    @classmethod
    def name(cls) -> str:
        return "pbs"

    @classmethod
    def affinity(cls) -> int:
        """Other schedulers have a qsub of their own, but no pbsnodes."""
        return 2 if shutil.which("qsub") and shutil.which("pbsnodes") else -1

    @classmethod
    def _equivalence_dict(cls) -> EquivalenceDict:
        return {
            "name": "job_name",
            "timeout_min": "time",
            "mem_gb": "mem",
            "nodes": "nodes",
            "cpus_per_task": "cpus_per_task",
            "gpus_per_node": "gpus_per_node",
            "tasks_per_node": "ntasks_per_node",
        }

    @classmethod
    def _valid_parameters(cls) -> set[str]:
        return set(pbs_script.PARAMETERS)

    def _internal_update_parameters(self, **kwargs: Any) -> None:
        """Takes parameters over; raises ValueError, with a sentence, for one that is unknown or cannot be meant."""
        pbs_script.check({**self.parameters, **kwargs})
        super()._internal_update_parameters(**kwargs)

    @property
    def _submitit_command_str(self) -> str:
        return f"{self.python} -u -m submitit.core._submit {shlex.quote(str(self.folder))}"

    def _num_tasks(self) -> int:
        return pbs_script.tasks(self.parameters)

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return pbs_script.text(command, self.folder, self.parameters)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["qsub", str(submission_file_path)]

    def _submit_command(self, command: str) -> Job[Any]:
        uid = uuid.uuid4().hex
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        script = folder / f".submission_file_{uid}.sh"
        script.write_text(self._make_submission_file_text(command, uid), encoding="utf-8")
        try:
            environment = pbs.submission_environment(os.environ)
            done = run(self._make_submission_command(script), environment=environment)
            job_id = self._get_job_id_from_submission_command(pbs.parse_submission(done))
        except SchedulerError as error:
            script.unlink()
            raise FailedSubmissionError(str(error)) from error
        job: Job[Any] = self.job_class(self.folder, job_id, tuple(range(self._num_tasks())))
        job.paths.move_temporary_file(script, "submission_file", keep_as_symlink=True)
        return job

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        return string.decode() if isinstance(string, bytes) else string
